"""An example conversation as text pieces and control tokens, exactly as Kimi's template writes it, with what is learnt
marked: the assistant's turns up to and including their end; and what the user says, which is learnt a little, too.

Faster than the template, which a test compares it with.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from server.conversation import Conversation, Message
from server.dialects.kimi import deep_sorted

DEFAULT_SYSTEM = "You are Kimi, an AI assistant created by Moonshot AI."
END = "<|im_end|>"


@dataclass(frozen=True, slots=True)
class Example:
    """A whole conversation, the assistant's turns included, and the skill that it teaches. `others` are further ways on
    from the same opening, as if each was a conversation of its own: to read the opening once for all of them is less
    work. `manner`: what kind of tool a single call is of, and how it is asked for."""

    skill: str
    conversation: Conversation
    others: tuple[tuple[Message, ...], ...] = ()
    manner: str = ""


@dataclass(frozen=True, slots=True)
class Piece:
    """Text, or the name of one control token. `asked`: it is what the user says."""

    text: str
    control: bool
    learnt: bool
    asked: bool = False


def pieces(conversation: Conversation) -> list[Piece]:
    """The conversation's rendering, without a generation prompt. Only the last message may carry reasoning."""
    return opening(conversation) + turns(conversation.messages[_has_system(conversation) :])


def opening(conversation: Conversation) -> list[Piece]:
    """The tools and the system prompt."""
    out: list[Piece] = []
    if conversation.tools:
        _turn(out, "<|im_system|>", "tool_declare", declared(conversation))
    if _has_system(conversation):
        _message(out, conversation.messages[0])
    else:
        _turn(out, "<|im_system|>", "system", DEFAULT_SYSTEM)
        out.append(Piece("\n", False, False))
    return out


def turns(messages: Sequence[Message]) -> list[Piece]:
    """What follows the opening."""
    out: list[Piece] = []
    for message in messages:
        _message(out, message)
    return out


def ways(example: Example) -> list[Sequence[Message]]:
    """All ways on from the opening."""
    conversation = example.conversation
    return [conversation.messages[_has_system(conversation) :], *example.others]


def _has_system(conversation: Conversation) -> bool:
    return conversation.messages[0].role == "system"


def declared(conversation: Conversation) -> str:
    """The tools as the prompt shows them."""
    tools: list[dict[str, Any]] = []
    for tool in conversation.tools:
        function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
        present = {key: value for key, value in function.items() if value is not None}
        tools.append({"type": "function", "function": present})
    return compact(deep_sorted(tools))


def compact(value: Any) -> str:
    """JSON without blanks, letters of all scripts as they are."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _message(out: list[Piece], message: Message) -> None:
    role = message.name or message.role
    if message.role == "user":
        _turn(out, "<|im_user|>", role, message.content)
    elif message.role == "tool":
        _turn(out, "<|im_system|>", role, f"## Return of {message.tool_call_id}\n{message.content}")
    elif message.role == "assistant":
        _open(out, "<|im_assistant|>", role)
        if message.reasoning is not None:
            out.append(Piece("<think>", True, False))  # the generation prompt ends with it
            out.append(Piece(message.reasoning, False, True))
            out.append(Piece("</think>", True, True))
        _answer(out, message)
    else:
        _turn(out, "<|im_system|>", role, message.content)


def _answer(out: list[Piece], message: Message) -> None:
    if message.content:
        out.append(Piece(message.content, False, True))
    if message.tool_calls:
        _controls(out, "<|tool_calls_section_begin|>")
        for call in message.tool_calls:
            _controls(out, "<|tool_call_begin|>")
            out.append(Piece(call.id, False, True))
            _controls(out, "<|tool_call_argument_begin|>")
            out.append(Piece(call.arguments, False, True))
            _controls(out, "<|tool_call_end|>")
        _controls(out, "<|tool_calls_section_end|>")
    _controls(out, END)


def _controls(out: list[Piece], *names: str) -> None:
    out.extend(Piece(name, True, True) for name in names)


def _open(out: list[Piece], opener: str, role: str) -> None:
    out.append(Piece(opener, True, False))
    out.append(Piece(role, False, False))
    out.append(Piece("<|im_middle|>", True, False))


def _turn(out: list[Piece], opener: str, role: str, text: str) -> None:
    _open(out, opener, role)
    out.append(Piece(text, False, False, opener == "<|im_user|>"))
    out.append(Piece(END, True, False))


def all_text(examples: Sequence[Example]) -> list[str]:
    """Every text of the examples, for the tokenizer to learn from."""
    out: list[str] = []
    for example in examples:
        found = [*opening(example.conversation), *(piece for way in ways(example) for piece in turns(way))]
        out += [piece.text for piece in found if not piece.control]
    return out
