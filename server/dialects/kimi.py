"""Kimi K2 and its kin (K2-Thinking, K2.5, Moonlight): how their prompts are written.

The checkpoint's template writes it:
    <|im_system|>tool_declare<|im_middle|>[tools as JSON, or as TypeScript since K2.5]<|im_end|>
    <|im_system|>system<|im_middle|>...<|im_end|>            a default one if the conversation has none
    <|im_user|>{name or user}<|im_middle|>...<|im_end|>
    <|im_assistant|>assistant<|im_middle|>                   here the model goes on; since K2.5 behind <think>

A call's id is `functions.NAME:INDEX`, its index counting all calls of the conversation. The model sees no other: what
clients call them stays between client and server. How output is constrained: kimi_grammar; read: kimi_parser.
"""

import re
from collections import deque
from dataclasses import replace
from typing import Any, ClassVar

from engine import Grammar
from server.conversation import Conversation, Message, OutputContract, Tool
from server.dialects.dialect import OutputParser, Reasoning, TemplateError
from server.dialects.generic import GenericDialect
from server.dialects.kimi_grammar import kimi_grammar
from server.dialects.kimi_parser import KimiParser
from server.dialects.kimi_tokens import CALL_MARKERS, KimiTokens
from server.dialects.kimi_typescript import declare_tools
from server.text.template import ChatTemplate
from server.text.tokenizer import Tokenizer

# Only this family's tokenizers have it.
FAMILY_TOKEN = "<|im_middle|>"


class KimiDialect(GenericDialect):
    """See the module."""

    name = "kimi"
    needs: ClassVar[tuple[str, ...]] = CALL_MARKERS

    @classmethod
    def speaks_for(cls, model_type: str, tokenizer: Tokenizer, template: ChatTemplate | None) -> bool:
        """By its tokens too, since relatives share an architecture: Moonlight calls itself deepseek_v3."""
        return model_type.startswith("kimi") or FAMILY_TOKEN in tokenizer.control_tokens

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate | None) -> None:
        super().__init__(tokenizer, template)
        source = template.source if template is not None else ""
        self._tokens = KimiTokens.of(tokenizer.control_tokens)
        self._sorts_tools = _declares_tools_sorted(source)
        self._declares_in_typescript = "tools_ts_str" in source
        self._counts_in_messages = "loop.index0" in source  # the revision of July 2025 writes ids of its own
        self.calls_tools = self._tokens.call_tools
        self.reasoning: Reasoning = "never"
        if "<think>" in source:
            self.reasoning = "optional" if re.search(r"\bthinking\b", source) else "always"
        self._opens = {
            thinking: template is not None and _opens_reasoning(template, self._tokens, thinking)
            for thinking in (None, True, False)
        }

    def grammar(self, conversation: Conversation, contract: OutputContract) -> Grammar | None:
        tools = contract.may_call(conversation.tools) if self.calls_tools else ()
        earlier = _calls(conversation)
        found = kimi_grammar(
            self._tokens,
            contract,
            tools,
            first_index=earlier,
            opened=self._opened(conversation),
            thinks=self.reasoning == "always",
        )
        if found is None and self.calls_tools and (conversation.tools or earlier):
            return Grammar(None, forbidden=self._tokens.calls)
        return found

    def output_parser(self, conversation: Conversation, contract: OutputContract) -> OutputParser:
        return KimiParser(
            self._tokenizer,
            self._tokens,
            reasoning=self._opened(conversation),
            names=frozenset(tool.name for tool in contract.may_call(conversation.tools)),
            first_index=_calls(conversation),
            max_calls=None if contract.parallel_tool_calls else 1,
        )

    def template_variables(self, conversation: Conversation) -> dict[str, Any]:
        messages = native_ids(conversation.messages, in_messages=self._counts_in_messages)
        variables = super().template_variables(replace(conversation, messages=messages))
        if self._declares_in_typescript and variables["tools"]:
            variables.setdefault("tools_ts_str", declare_tools(variables["tools"]))
        return variables

    def tool_variables(self, tool: Tool) -> dict[str, Any]:
        variables = super().tool_variables(tool)
        sorted_variables: dict[str, Any] = deep_sorted(variables) if self._sorts_tools else variables
        return sorted_variables

    def _opened(self, conversation: Conversation) -> bool:
        """Whether the prompt ends within the reasoning."""
        return conversation.add_generation_prompt and self._opens[self.thinking(conversation)]


def native_ids(messages: tuple[Message, ...], *, in_messages: bool = False) -> tuple[Message, ...]:
    """The messages with the model's own ids for calls and their results, whatever the client called them. A result
    belongs to the last call before it that has its id; calls of one message that share an id have results in their
    order. One that answers nothing keeps what it has. `in_messages`: the index counts anew in each message."""
    native: dict[str, deque[str]] = {}  # by the client's id; of calls that have a result, only the last one stays
    count = 0
    renamed = []
    for message in messages:
        calls = []
        made: dict[str, deque[str]] = {}
        for position, call in enumerate(message.tool_calls):
            own = f"functions.{call.name}:{position if in_messages else count}"
            made.setdefault(call.id, deque()).append(own)
            calls.append(replace(call, id=own))
            count += 1
        native |= made
        answers = message.tool_call_id
        if answers is not None and (waiting := native.get(answers)):
            answers = waiting.popleft() if len(waiting) > 1 else waiting[0]
        renamed.append(replace(message, tool_calls=tuple(calls), tool_call_id=answers))
    return tuple(renamed)


def _calls(conversation: Conversation) -> int:
    return sum(len(message.tool_calls) for message in conversation.messages)


def _opens_reasoning(template: ChatTemplate, tokens: KimiTokens, thinking: bool | None) -> bool:
    variables: dict[str, Any] = {"messages": [{"role": "user", "content": "Q"}], "tools": None}
    variables["add_generation_prompt"] = True
    if thinking is not None:
        variables["thinking"] = thinking
    try:
        pieces = template.render(variables)
    except TemplateError:
        return False
    return bool(pieces) and pieces[-1] == tokens.think


def _declares_tools_sorted(template: str) -> bool:
    """Whether the model saw tools with their keys in order: since late 2025, when the templates also began to write
    them without blanks, and in all that think."""
    return "separators" in template or "<think>" in template


def deep_sorted(value: Any) -> Any:
    """A copy with the keys of every mapping in order; the order of lists is kept."""
    if isinstance(value, dict):
        return {key: deep_sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [deep_sorted(item) for item in value]
    return value
