"""The wire form of a chat-completions request, and its one-sentence errors.

Strict: a string is not a number, an unknown field is an error. Which fields are refused, and why: `fields`. Checks
that need the model or the settings are in `adapter`.
"""

from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from server.bounds import check_bounds
from server.chat_completions.fields import REFUSED
from server.chat_completions.tools_schema import (
    Choices,
    GuidedText,
    ResponseFormat,
    StructuredOutputs,
    Thinking,
    ToolChoiceField,
    ToolDeclared,
)
from server.sampling_fields import SamplingFields, StopString, text_or_list
from server.wire import MAX_TOOLS, Metadata, Name, Wire, refuse

ROLES = ("system", "developer", "user", "assistant", "tool")
MAX_STOPS = 4
FREE_FORM = frozenset(
    {
        "chat_template_kwargs",
        "tools",
        "response_format",
        "structured_outputs",
        "guided_json",
        "parsed",
        "parsed_arguments",
    }
)


class TextPart(Wire):
    type: Literal["text"]
    text: str


class RefusalPart(Wire):
    type: Literal["refusal"]
    refusal: str


# Tags are in angle brackets, so that an error's path can leave them out: the client did not write them.
def _content_kind(value: Any) -> str | None:
    return "<text>" if isinstance(value, str) else "<parts>" if isinstance(value, list) else None


def _part_kind(value: Any) -> str | None:
    kind = value.get("type") if isinstance(value, dict) else None
    return f"<{kind}>" if kind in ("text", "refusal") else None


def _role(value: Any) -> str | None:
    role = value.get("role") if isinstance(value, dict) else None
    return f"<{role}>" if role in ROLES else None


_not_content = Discriminator(
    _content_kind, custom_error_type="content", custom_error_message="must be a string or a list of parts"
)
TextContent = Annotated[
    Annotated[str, Tag("<text>")] | Annotated[list[TextPart], Field(fail_fast=True, min_length=1), Tag("<parts>")],
    _not_content,
]
AssistantPart = Annotated[
    Annotated[TextPart, Tag("<text>")] | Annotated[RefusalPart, Tag("<refusal>")],
    Discriminator(
        _part_kind,
        custom_error_type="part",
        custom_error_message="must be an object whose type is text or refusal",
    ),
]
AssistantContent = Annotated[
    Annotated[str, Tag("<text>")] | Annotated[list[AssistantPart], Field(fail_fast=True, min_length=1), Tag("<parts>")],
    _not_content,
]


class PromptMessage(Wire):
    """What people write."""

    role: Literal["user"]
    content: TextContent
    name: Name | None = None


class SystemMessage(Wire):
    """What operators write. It may declare tools, as in Moonshot's API, and then say nothing else."""

    role: Literal["system", "developer"]
    content: TextContent | None = None
    name: Name | None = None
    tools: Annotated[list[ToolDeclared], Field(min_length=1, max_length=MAX_TOOLS)] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "SystemMessage":
        if self.content is None and self.tools is None:
            raise PydanticCustomError("empty", "A system message needs content or tools")
        return self


class FunctionCalled(Wire):
    """`parsed_arguments`, and `parsed` of a message, are what OpenAI's SDK makes of an answer and sends back."""

    name: Name
    arguments: str
    parsed_arguments: Any = None


class ToolCalled(Wire):
    """A call in the history. `index` is what clients leave in when they replay a stream."""

    id: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    type: Literal["function"] = "function"
    function: FunctionCalled
    index: int | None = None


class AssistantMessage(Wire):
    """What the model said before. The empty fields are those of an answer that is sent back as it came."""

    role: Literal["assistant"]
    content: AssistantContent | None = None
    name: Name | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: Annotated[list[ToolCalled], Field(fail_fast=True)] | None = None
    annotations: Annotated[list[Any], Field(max_length=0)] | None = None
    audio: None = None
    function_call: None = None
    parsed: Any = None
    provider_specific_fields: dict[str, None] | None = None  # LiteLLM's messages have it

    @model_validator(mode="after")
    def _says_something(self) -> "AssistantMessage":
        if self.content is None and self.refusal is None and not self.tool_calls:
            raise PydanticCustomError("empty", "an assistant message needs content, a refusal or tool_calls")
        if None not in (self.reasoning, self.reasoning_content) and self.reasoning != self.reasoning_content:
            raise PydanticCustomError("reasoning", "reasoning and reasoning_content differ; give one of them")
        return self


class ToolMessage(Wire):
    """What a tool returned."""

    role: Literal["tool"]
    content: TextContent
    tool_call_id: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    name: Name | None = None


ChatMessage = Annotated[
    Annotated[SystemMessage, Tag("<system>")]
    | Annotated[SystemMessage, Tag("<developer>")]
    | Annotated[PromptMessage, Tag("<user>")]
    | Annotated[AssistantMessage, Tag("<assistant>")]
    | Annotated[ToolMessage, Tag("<tool>")],
    Discriminator(
        _role,
        custom_error_type="role",
        custom_error_message="a message is an object whose role is one of " + ", ".join(ROLES),
    ),
]


class ChatCompletionRequest(SamplingFields):
    """Body of POST /v1/chat/completions."""

    messages: Annotated[list[ChatMessage], Field(fail_fast=True, min_length=1)]
    model: str

    max_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    stop: (
        Annotated[
            Annotated[StopString, Tag("<text>")]
            | Annotated[list[StopString], Field(fail_fast=True, max_length=MAX_STOPS), Tag("<list>")],
            text_or_list,
        ]
        | None
    ) = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: Annotated[list[ToolDeclared], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: ToolChoiceField | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: Literal["none", "medium"] | None = None

    thinking: Thinking | None = None
    structured_outputs: StructuredOutputs | None = None
    guided_json: Any = None
    guided_regex: GuidedText | None = None
    guided_choice: Choices | None = None
    guided_grammar: GuidedText | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    add_generation_prompt: bool | None = None

    user: str | None = None
    safety_identifier: Annotated[str, StringConstraints(max_length=64)] | None = None
    store: bool | None = None
    metadata: Metadata | None = None
    prompt_cache_key: str | None = None

    functions: Any = None
    function_call: Any = None
    verbosity: Any = None
    modalities: Any = None
    audio: Any = None
    prediction: Any = None
    web_search_options: Any = None
    moderation: Any = None
    service_tier: Any = None
    prompt_cache_retention: Any = None
    prompt_cache_options: Any = None

    @field_validator(*REFUSED)
    @classmethod
    def _refuse(cls, value: Any, info: ValidationInfo) -> Any:
        assert info.field_name is not None
        return refuse(info.field_name, value, REFUSED)

    @model_validator(mode="before")
    @classmethod
    def _bounded(cls, value: Any, info: ValidationInfo) -> Any:
        check_bounds(value, info.context["max_messages"] if info.context else None, FREE_FORM)
        return value
