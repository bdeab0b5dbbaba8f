"""The wire form of requests for responses and conversations, and their one-sentence errors.

Strict: a string is not a number, an unknown field is an error. Which fields are refused, and why: `fields`. Checks
that need more than one field, the model or the store are in `adapter` and `context`.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, StringConstraints, Tag, ValidationInfo, model_validator

from server.bounds import check_bounds
from server.responses.fields import COUNT_REFUSED, REFUSED
from server.responses.items_schema import Id, Input, InputItem
from server.responses.tools_schema import Reasoning, Text, ToolChoiceField, ToolDeclared
from server.sampling_fields import StopString, text_or_list
from server.wire import INT64, MAX_TOOLS, Metadata, Wire, refuse

MAX_ADDED = 20  # items of one request to a conversation
MAX_STOPS = 4
FREE_FORM = frozenset({"tools", "text", "chat_template_kwargs", "annotations", "logprobs", "prompt_cache_breakpoint"})
LOGPROBS = "message.output_text.logprobs"
ENCRYPTED = "reasoning.encrypted_content"

Include = Literal[
    "message.output_text.logprobs",
    "reasoning.encrypted_content",
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
]


class ConversationNamed(Wire):
    id: Id


def _named_kind(value: Any) -> str | None:
    return "<text>" if isinstance(value, str) else "<object>" if isinstance(value, dict) else None


ConversationField = Annotated[
    Annotated[Id, Tag("<text>")] | Annotated[ConversationNamed, Tag("<object>")],
    Discriminator(
        _named_kind, custom_error_type="conversation", custom_error_message="must be an id or an object with an id"
    ),
]


def _refuse(value: Any, info: ValidationInfo) -> Any:
    assert info.field_name is not None
    return refuse(info.field_name, value, REFUSED)


def _refuse_count(value: Any, info: ValidationInfo) -> Any:
    assert info.field_name is not None
    return refuse(info.field_name, value, COUNT_REFUSED)


RefusedField = Annotated[Any, AfterValidator(_refuse)]
RefusedCount = Annotated[Any, AfterValidator(_refuse_count)]


class Bounded(Wire):
    """What has a list of items."""

    @model_validator(mode="before")
    @classmethod
    def _bounded(cls, value: Any, info: ValidationInfo) -> Any:
        called = "items" if isinstance(value, dict) and "items" in value else "input"
        check_bounds(value, info.context["max_messages"] if info.context else None, FREE_FORM, called)
        return value


class PromptRequest(Bounded):
    """What the prompt is made of."""

    input: Input | None = None
    instructions: str | None = None
    previous_response_id: Id | None = None
    conversation: ConversationField | None = None
    tools: Annotated[list[ToolDeclared], Field(fail_fast=True, max_length=MAX_TOOLS)] | None = None
    tool_choice: ToolChoiceField | None = None
    parallel_tool_calls: bool | None = None
    text: Text | None = None
    reasoning: Reasoning | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    @property
    def conversation_id(self) -> str | None:
        named = self.conversation
        return named.id if isinstance(named, ConversationNamed) else named


class CountRequest(PromptRequest):
    """Body of POST /v1/responses/input_tokens."""

    model: str | None = None
    truncation: RefusedCount = None
    personality: RefusedCount = None


class StreamOptions(Wire):
    include_obfuscation: Literal[False] | None = None


class ResponseRequest(PromptRequest):
    """Body of POST /v1/responses."""

    model: str

    store: bool | None = None
    background: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    include: Annotated[list[Include], Field(max_length=64)] | None = None
    metadata: Metadata | None = None

    max_output_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None

    seed: Annotated[int, Field(ge=-INT64, lt=INT64)] | None = None
    stop: (
        Annotated[
            Annotated[StopString, Tag("<text>")]
            | Annotated[list[StopString], Field(fail_fast=True, max_length=MAX_STOPS), Tag("<list>")],
            text_or_list,
        ]
        | None
    ) = None
    top_k: Annotated[int, Field(ge=-1, lt=2**31)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=10)] | None = None
    ignore_eos: bool | None = None
    cache_salt: Annotated[str, StringConstraints(max_length=128)] | None = None
    priority: Annotated[int, Field(ge=-1000, le=1000)] | None = None
    client_metadata: dict[str, Any] | None = None

    user: str | None = None
    safety_identifier: Annotated[str, StringConstraints(max_length=64)] | None = None
    prompt_cache_key: str | None = None
    max_tool_calls: Annotated[int, Field(ge=0, lt=2**31)] | None = None

    truncation: RefusedField = None
    prompt: RefusedField = None
    moderation: RefusedField = None
    context_management: RefusedField = None
    service_tier: RefusedField = None
    prompt_cache_retention: RefusedField = None
    prompt_cache_options: RefusedField = None


class CreateConversation(Bounded):
    """Body of POST /v1/conversations."""

    items: Annotated[list[InputItem], Field(fail_fast=True, max_length=MAX_ADDED)] | None = None
    metadata: Metadata | None = None


class UpdateConversation(Wire):
    """Body of POST /v1/conversations/{id}."""

    metadata: Metadata


class AddItems(Bounded):
    """Body of POST /v1/conversations/{id}/items."""

    items: Annotated[list[InputItem], Field(fail_fast=True, min_length=1, max_length=MAX_ADDED)]
