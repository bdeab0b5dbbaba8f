"""The wire's messages request becomes a TextRequest.

Turns of the same role in a row are one turn. A user's turn holds what tools returned and what people wrote; the model
sees these as messages of their own, in their order.
"""

import json
from collections.abc import Iterator, Sequence, Set
from itertools import groupby

from server.contract import check_model
from server.conversation import Conversation, Message, Role, ToolCall
from server.errors import InvalidRequest
from server.generation import TextRequest
from server.messages.blocks import (
    RedactedThinkingBlock,
    TextBlock,
    TextContent,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from server.messages.contract import declared_tools, output_contract, reasoning_wanted
from server.messages.schema import AssistantTurn, CountTokensRequest, MessagesRequest, Turn
from server.messages.thoughts import reveal
from server.sampling import SamplingOverrides
from server.served_model import ServedModel
from server.settings import Settings

BETWEEN_BLOCKS = "\n\n"  # of text that people wrote; an answer's own are pieces of one text
FAILED = "Error: "  # before what a tool that failed returned

Block = TextBlock | ToolUseBlock | ToolResultBlock | ThinkingBlock | RedactedThinkingBlock
Placed = tuple[str, Block]  # where it is in the request, and what


def text_request(wire: CountTokensRequest, id: str, model: ServedModel, settings: Settings) -> TextRequest:
    """Raises InvalidRequest or UnknownModel."""
    check_model(wire.model, model)
    tools = declared_tools(wire, model.dialect)
    return TextRequest(
        id=id,
        conversation=Conversation(
            messages=tuple(_messages(wire)), tools=tools, reasoning=reasoning_wanted(wire, model.dialect)
        ),
        sampling=_sampling(wire) if isinstance(wire, MessagesRequest) else SamplingOverrides(),
        contract=output_contract(wire, tools, settings.max_json_string),
    )


def _sampling(wire: MessagesRequest) -> SamplingOverrides:
    return SamplingOverrides(
        max_tokens=wire.max_tokens,
        cut_max_tokens=True,
        temperature=wire.temperature,
        top_p=wire.top_p,
        top_k=wire.top_k,
    )


def _messages(wire: CountTokensRequest) -> Iterator[Message]:
    if isinstance(wire.messages[-1], AssistantTurn):
        last = f"messages[{len(wire.messages) - 1}]"
        raise InvalidRequest(f"{last} is the assistant's: an answer cannot be begun for the model here.", param=last)
    if wire.system is not None:
        yield Message("system", _text(wire.system))
    calls: set[str] = set()
    for role, turns in groupby(enumerate(wire.messages), lambda numbered: numbered[1].role):
        blocks = [placed for index, turn in turns for placed in _placed(turn, f"messages[{index}].content")]
        if role == "assistant":
            said = _answer(blocks)
            calls.update(call.id for call in said.tool_calls)
            yield said
        else:
            yield from _asked(role, blocks, calls)


def _placed(turn: Turn, where: str) -> Sequence[Placed]:
    """The turn's blocks; a string is one of text."""
    if isinstance(turn.content, str):
        return [(where, TextBlock(type="text", text=turn.content))]
    return [(f"{where}[{index}]", block) for index, block in enumerate(turn.content)]


def _answer(blocks: Sequence[Placed]) -> Message:
    texts, thoughts, calls = [], [], []
    for where, block in blocks:
        if isinstance(block, TextBlock):
            texts.append(block.text)
        elif isinstance(block, ThinkingBlock):
            thoughts.append(reveal(block.thinking, block.signature, f"{where}.signature"))
        elif isinstance(block, ToolUseBlock):
            calls.append(ToolCall(block.id, block.name, json.dumps(block.input, ensure_ascii=False)))
    reasoning = "".join(thoughts) if thoughts else None
    return Message("assistant", "".join(texts), reasoning=reasoning, tool_calls=tuple(calls))


def _asked(role: Role, blocks: Sequence[Placed], calls: Set[str]) -> Iterator[Message]:
    """What people wrote and tools returned, in its order."""
    texts: list[str] = []
    for where, block in blocks:
        if isinstance(block, TextBlock):
            texts.append(block.text)
        elif isinstance(block, ToolResultBlock):
            if texts:
                yield Message(role, BETWEEN_BLOCKS.join(texts))
                texts = []
            yield _result(block, where, calls)
    if texts:
        yield Message(role, BETWEEN_BLOCKS.join(texts))


def _result(block: ToolResultBlock, where: str, calls: Set[str]) -> Message:
    if block.tool_use_id not in calls:
        raise InvalidRequest(
            f"No assistant message before this one made a call {block.tool_use_id[:80]!r}.",
            param=f"{where}.tool_use_id",
        )
    text = "" if block.content is None else _text(block.content)
    return Message("tool", FAILED + text if block.is_error else text, tool_call_id=block.tool_use_id)


def _text(content: TextContent) -> str:
    return content if isinstance(content, str) else BETWEEN_BLOCKS.join(block.text for block in content)
