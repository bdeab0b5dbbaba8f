"""The wire form of the items of an input or of a conversation."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, StringConstraints, Tag

from server.bounds import MAX_ITEMS
from server.wire import Name, Wire

ITEMS = ("message", "function_call", "function_call_output", "reasoning", "item_reference")
Status = Literal["in_progress", "completed", "incomplete"]
Id = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class InputText(Wire):
    """`prompt_cache_breakpoint` is a hint; prefixes are found in the cache without."""

    type: Literal["input_text"]
    text: str
    prompt_cache_breakpoint: dict[str, Any] | None = None


class OutputText(Wire):
    """What the model said before. Annotations and log-probabilities are no part of the prompt."""

    type: Literal["output_text"]
    text: str
    annotations: list[Any] | None = None
    logprobs: list[Any] | None = None


class Refusal(Wire):
    type: Literal["refusal"]
    refusal: str


# Tags are in angle brackets, so that an error's path can leave them out: the client did not write them.
def _content_kind(value: Any) -> str | None:
    return "<text>" if isinstance(value, str) else "<parts>" if isinstance(value, list) else None


def _part_kind(value: Any) -> str | None:
    kind = value.get("type") if isinstance(value, dict) else None
    return f"<{kind}>" if kind in ("input_text", "output_text", "refusal") else None


_not_content = Discriminator(
    _content_kind, custom_error_type="content", custom_error_message="must be a string or a list of parts"
)
Part = Annotated[
    Annotated[InputText, Tag("<input_text>")]
    | Annotated[OutputText, Tag("<output_text>")]
    | Annotated[Refusal, Tag("<refusal>")],
    Discriminator(
        _part_kind,
        custom_error_type="part",
        custom_error_message="must be a part of the type input_text, output_text or refusal; only text is supported",
    ),
]
Content = Annotated[
    Annotated[str, Tag("<text>")]
    | Annotated[list[Part], Field(fail_fast=True, min_length=1, max_length=MAX_ITEMS), Tag("<parts>")],
    _not_content,
]
OutputContent = Annotated[
    Annotated[str, Tag("<text>")]
    | Annotated[list[InputText], Field(fail_fast=True, max_length=MAX_ITEMS), Tag("<parts>")],
    _not_content,
]


class Message(Wire):
    """`phase` is a mark of the provider's models, given back to whoever lists the items."""

    type: Literal["message"] = "message"
    role: Literal["user", "system", "developer", "assistant"]
    content: Content
    id: Id | None = None
    status: Status | None = None
    phase: Literal["commentary", "final_answer"] | None = None


class FunctionCall(Wire):
    type: Literal["function_call"]
    call_id: Id
    name: Name
    arguments: str
    id: Id | None = None
    status: Status | None = None
    namespace: None = None
    caller: None = None


class FunctionCallOutput(Wire):
    type: Literal["function_call_output"]
    call_id: Id
    output: OutputContent
    id: Id | None = None
    status: Status | None = None
    name: Name | None = None
    namespace: None = None
    caller: None = None


class SummaryText(Wire):
    type: Literal["summary_text"]
    text: str


class ReasoningText(Wire):
    type: Literal["reasoning_text"]
    text: str


class ReasoningItem(Wire):
    """What the model thought, sent back as it came."""

    type: Literal["reasoning"]
    id: Id | None = None
    summary: Annotated[list[SummaryText], Field(fail_fast=True, max_length=MAX_ITEMS)] | None = None
    content: Annotated[list[ReasoningText], Field(fail_fast=True, max_length=MAX_ITEMS)] | None = None
    encrypted_content: str | None = None
    status: Status | None = None


class ItemReference(Wire):
    """An item of a stored response."""

    type: Literal["item_reference"] | None = None
    id: Id


def _item_kind(value: Any) -> str | None:
    """Messages and references may come without a type."""
    if not isinstance(value, dict):
        return None
    kind = value.get("type")
    if kind is None:
        kind = "message" if "role" in value else "item_reference"
    return f"<{kind}>" if kind in ITEMS else None


AnyItem = (
    Annotated[Message, Tag("<message>")]
    | Annotated[FunctionCall, Tag("<function_call>")]
    | Annotated[FunctionCallOutput, Tag("<function_call_output>")]
    | Annotated[ReasoningItem, Tag("<reasoning>")]
    | Annotated[ItemReference, Tag("<item_reference>")]
)
InputItem = Annotated[
    AnyItem,
    Discriminator(
        _item_kind,
        custom_error_type="item",
        custom_error_message="an item is an object of the type " + ", ".join(ITEMS),
    ),
]
Input = Annotated[
    Annotated[str, Tag("<text>")] | Annotated[list[InputItem], Field(fail_fast=True), Tag("<parts>")],
    Discriminator(_content_kind, custom_error_type="input", custom_error_message="must be a string or a list of items"),
]
