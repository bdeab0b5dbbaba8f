"""The wire form of content blocks: what people, tools and the model said. Blocks of other kinds are refused by name."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, StringConstraints, Tag
from pydantic_core import PydanticCustomError

from server.bounds import MAX_ITEMS
from server.wire import Name, Wire

Id = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class CacheControl(Wire):
    """A breakpoint of the provider's prompt cache. Prefixes are found here without."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | None = None


class TextBlock(Wire):
    """`citations` is what clients leave in when they send an answer back."""

    type: Literal["text"]
    text: str
    cache_control: CacheControl | None = None
    citations: Annotated[list[Any], Field(max_length=0)] | None = None


class ThinkingBlock(Wire):
    """What the model thought, as it came. A signature stands for thoughts that were not shown."""

    type: Literal["thinking"]
    thinking: str
    signature: str


class RedactedThinkingBlock(Wire):
    """Thoughts that only their maker can read; the model here does without them."""

    type: Literal["redacted_thinking"]
    data: str


class DirectCaller(Wire):
    type: Literal["direct"]


class ToolUseBlock(Wire):
    """A call in the history."""

    type: Literal["tool_use"]
    id: Id
    name: Name
    input: dict[str, Any]
    cache_control: CacheControl | None = None
    caller: DirectCaller | None = None
    toolset_name: None = None


def _content_kind(value: Any) -> str | None:
    return "<text>" if isinstance(value, str) else "<blocks>" if isinstance(value, list) else None


_not_content = Discriminator(
    _content_kind, custom_error_type="content", custom_error_message="must be a string or a list of blocks"
)


def _kind_among(*known: str) -> Discriminator:
    """Tells blocks apart. Tags are in angle brackets, so that an error's path can leave them out."""

    def kind_of(value: Any) -> str | None:
        kind = value.get("type") if isinstance(value, dict) else None
        return f"<{kind}>" if kind in known else "<other>" if isinstance(kind, str) else None

    return Discriminator(
        kind_of, custom_error_type="block", custom_error_message="a block is an object that has a type"
    )


def _refusing(*known: str) -> BeforeValidator:
    """For all blocks of other kinds; which type they would have does not matter."""

    def refuse(value: Any) -> Any:
        raise PydanticCustomError(
            "block",
            "{kind} blocks are not supported here; supported are {known}",
            {"kind": value["type"][:40], "known": ", ".join(known)},
        )

    return BeforeValidator(refuse)


TextOnly = Annotated[
    Annotated[TextBlock, Tag("<text>")] | Annotated[TextBlock, _refusing("text"), Tag("<other>")], _kind_among("text")
]
TextContent = Annotated[
    Annotated[str, Tag("<text>")]
    | Annotated[list[TextOnly], Field(fail_fast=True, max_length=MAX_ITEMS), Tag("<blocks>")],
    _not_content,
]


class ToolResultBlock(Wire):
    """What a tool returned; nothing, if it has no content."""

    type: Literal["tool_result"]
    tool_use_id: Id
    content: TextContent | None = None
    is_error: bool | None = None
    cache_control: CacheControl | None = None
    toolset_name: None = None


OF_USER = ("text", "tool_result")
OF_ASSISTANT = ("text", "tool_use", "thinking", "redacted_thinking")
UserBlock = Annotated[
    Annotated[TextBlock, Tag("<text>")]
    | Annotated[ToolResultBlock, Tag("<tool_result>")]
    | Annotated[TextBlock, _refusing(*OF_USER), Tag("<other>")],
    _kind_among(*OF_USER),
]
AssistantBlock = Annotated[
    Annotated[TextBlock, Tag("<text>")]
    | Annotated[ToolUseBlock, Tag("<tool_use>")]
    | Annotated[ThinkingBlock, Tag("<thinking>")]
    | Annotated[RedactedThinkingBlock, Tag("<redacted_thinking>")]
    | Annotated[TextBlock, _refusing(*OF_ASSISTANT), Tag("<other>")],
    _kind_among(*OF_ASSISTANT),
]
UserContent = Annotated[
    Annotated[str, Tag("<text>")] | Annotated[list[UserBlock], Field(fail_fast=True, min_length=1), Tag("<blocks>")],
    _not_content,
]
AssistantContent = Annotated[
    Annotated[str, Tag("<text>")] | Annotated[list[AssistantBlock], Field(fail_fast=True), Tag("<blocks>")],
    _not_content,
]
