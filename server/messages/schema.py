"""The wire form of a messages request, and of count_tokens, which has the part of it that makes the prompt.

Strict: a string is not a number, an unknown field is an error. Which fields are refused, and why: `fields`. Checks
that need the model or more than one field are in `adapter` and `contract`.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, StringConstraints, Tag, ValidationInfo, model_validator

from server.bounds import check_bounds
from server.messages.blocks import AssistantContent, CacheControl, TextContent, UserContent
from server.messages.fields import REFUSED
from server.messages.tools_schema import ToolChoiceField, ToolDeclared
from server.wire import MAX_TOOLS, Wire, refuse

MAX_STOPS = 64
LEAST_BUDGET = 1024  # tokens
FREE_FORM = frozenset({"tools", "input", "output_config", "output_format", "metadata"})


def _refuse(value: Any, info: ValidationInfo) -> Any:
    assert info.field_name is not None
    return refuse(info.field_name, value, REFUSED)


RefusedField = Annotated[Any, AfterValidator(_refuse)]


class UserTurn(Wire):
    role: Literal["user"]
    content: UserContent


class AssistantTurn(Wire):
    role: Literal["assistant"]
    content: AssistantContent


class SystemTurn(Wire):
    """What the operator says midway."""

    role: Literal["system"]
    content: TextContent


def _role(value: Any) -> str | None:
    role = value.get("role") if isinstance(value, dict) else None
    return f"<{role}>" if role in ("user", "assistant", "system") else None


Turn = Annotated[
    Annotated[UserTurn, Tag("<user>")]
    | Annotated[AssistantTurn, Tag("<assistant>")]
    | Annotated[SystemTurn, Tag("<system>")],
    Discriminator(
        _role,
        custom_error_type="role",
        custom_error_message="a message is an object whose role is one of user, assistant, system",
    ),
]

Display = Literal["summarized", "omitted"]


class ThinkingEnabled(Wire):
    """`budget_tokens` is a target at best in the published API, and none here: the model ends its thoughts itself."""

    type: Literal["enabled"]
    budget_tokens: Annotated[int, Field(ge=LEAST_BUDGET, lt=2**31)]
    display: Display | None = None


class ThinkingAdaptive(Wire):
    type: Literal["adaptive"]
    display: Display | None = None


class ThinkingDisabled(Wire):
    type: Literal["disabled"]


def _thinking_kind(value: Any) -> str | None:
    kind = value.get("type") if isinstance(value, dict) else None
    return f"<{kind}>" if kind in ("enabled", "adaptive", "disabled") else None


ThinkingField = Annotated[
    Annotated[ThinkingEnabled, Tag("<enabled>")]
    | Annotated[ThinkingAdaptive, Tag("<adaptive>")]
    | Annotated[ThinkingDisabled, Tag("<disabled>")],
    Discriminator(
        _thinking_kind,
        custom_error_type="thinking",
        custom_error_message="thinking is an object of the type enabled, adaptive or disabled",
    ),
]


class JsonOutput(Wire):
    type: Literal["json_schema"]
    # Anthropic's word for it is one that pydantic's models have taken.
    schema_: Annotated[dict[str, Any], Field(alias="schema")]


class OutputConfig(Wire):
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: JsonOutput | None = None
    task_budget: None = None


class Metadata(Wire):
    user_id: str | None = None


class Diagnostics(Wire):
    previous_message_id: str | None = None


class CountTokensRequest(Wire):
    """Body of POST /v1/messages/count_tokens: what the prompt is made of."""

    messages: Annotated[list[Turn], Field(fail_fast=True, min_length=1)]
    model: str
    system: TextContent | None = None
    tools: Annotated[list[ToolDeclared], Field(fail_fast=True, max_length=MAX_TOOLS)] | None = None
    tool_choice: ToolChoiceField | None = None
    thinking: ThinkingField | None = None
    output_config: OutputConfig | None = None
    output_format: JsonOutput | None = None

    cache_control: CacheControl | None = None

    billing_policy: RefusedField = None
    compaction: RefusedField = None
    context_management: RefusedField = None
    mcp_servers: RefusedField = None
    speed: RefusedField = None

    @model_validator(mode="before")
    @classmethod
    def _bounded(cls, value: Any, info: ValidationInfo) -> Any:
        check_bounds(value, info.context["max_messages"] if info.context else None, FREE_FORM)
        return value


class MessagesRequest(CountTokensRequest):
    """Body of POST /v1/messages."""

    max_tokens: Annotated[int, Field(ge=1, lt=2**31)]
    stop_sequences: (
        Annotated[
            list[Annotated[str, StringConstraints(min_length=1, max_length=1024)]],
            Field(fail_fast=True, max_length=MAX_STOPS),
        ]
        | None
    ) = None
    stream: bool | None = None
    temperature: Annotated[float, Field(ge=0, le=1)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    diagnostics: Diagnostics | None = None

    metadata: Metadata | None = None
    fallbacks: Any = None

    container: RefusedField = None
    fallback_credit_token: RefusedField = None
    inference_geo: RefusedField = None
    service_tier: RefusedField = None
    thread: RefusedField = None
