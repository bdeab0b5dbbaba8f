"""The wire form of generateContent and countTokens.

Strict: a string is not a number, an unknown field is an error. Which fields are refused, and why: `fields`. Checks
that need the model or more than one field are in `adapter` and `contract`.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints, ValidationInfo, model_validator

from server.bounds import check_bounds
from server.errors import InvalidRequest
from server.gemini.contents_schema import Content, Instruction
from server.gemini.tools_schema import Tool, ToolConfig
from server.gemini.wire import InCapitals, Listed, Proto, RefusedField, RefusedSetting
from server.wire import INT64

MAX_STOPS = 64
MAX_TOOL_LISTS = 64
MAX_SAFETY_SETTINGS = 64
FREE_FORM = frozenset(
    {"tools", "args", "response", "labels"}
    | {"responseSchema", "response_schema", "responseJsonSchema", "response_json_schema"}
)


def _whole(value: Any) -> Any:
    """Google's own SDK sends 40.0 for 40."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class ThinkingConfig(Proto):
    """Budgets and levels are no limits here: the model ends its thoughts itself."""

    include_thoughts: bool | None = None
    thinking_budget: Annotated[int, Field(ge=-1, lt=2**31)] | None = None
    thinking_level: Annotated[
        Literal["THINKING_LEVEL_UNSPECIFIED", "MINIMAL", "LOW", "MEDIUM", "HIGH"] | None, InCapitals
    ] = None


class GenerationConfig(Proto):
    stop_sequences: (
        Annotated[
            list[Annotated[str, StringConstraints(min_length=1, max_length=1024)]],
            Field(fail_fast=True, max_length=MAX_STOPS),
        ]
        | None
    ) = None
    response_mime_type: Literal["text/plain", "application/json", "text/x.enum"] | None = None
    response_schema: dict[str, Any] | None = None
    response_json_schema: Any = None
    candidate_count: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    max_output_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, BeforeValidator(_whole), Field(ge=0, lt=2**31)] | None = None
    seed: Annotated[int, Field(ge=-INT64, lt=INT64)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    response_logprobs: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    thinking_config: ThinkingConfig | None = None

    audio_timestamp: RefusedSetting = None
    audio_transcription_config: RefusedSetting = None
    enable_affective_dialog: RefusedSetting = None
    enable_enhanced_civic_answers: RefusedSetting = None
    image_config: RefusedSetting = None
    media_resolution: RefusedSetting = None
    model_selection_config: RefusedSetting = None
    response_format: RefusedSetting = None
    response_modalities: RefusedSetting = None
    routing_config: RefusedSetting = None
    speech_config: RefusedSetting = None
    translation_config: RefusedSetting = None


class SafetySetting(Proto):
    """What a filter would hold back; there is none."""

    category: str | None = None
    threshold: str | None = None
    method: str | None = None


def _within_bounds(value: Any, info: ValidationInfo) -> Any:
    """Without nulls, which are absent."""
    check_bounds(value, info.context["max_messages"] if info.context else None, FREE_FORM, "contents")
    if not isinstance(value, dict):
        return value
    return {name: member for name, member in value.items() if member is not None}


class GenerateContentRequest(Proto):
    """Body of generateContent and streamGenerateContent. `model` repeats the path's."""

    contents: Annotated[list[Content], Field(fail_fast=True, min_length=1), Listed]
    model: str | None = None
    system_instruction: Instruction | None = None
    tools: Annotated[list[Tool], Field(fail_fast=True, max_length=MAX_TOOL_LISTS), Listed] | None = None
    tool_config: ToolConfig | None = None
    generation_config: GenerationConfig = GenerationConfig()

    labels: dict[str, str] | None = None
    safety_settings: Annotated[list[SafetySetting], Field(max_length=MAX_SAFETY_SETTINGS), Listed] | None = None

    cached_content: RefusedField = None
    continuation_token: RefusedField = None
    service_tier: RefusedField = None
    store: RefusedField = None

    @model_validator(mode="before")
    @classmethod
    def _bounded(cls, value: Any, info: ValidationInfo) -> Any:
        return _within_bounds(value, info)


class CountTokensRequest(Proto):
    """Body of countTokens: contents, or a whole request."""

    contents: Annotated[list[Content], Field(fail_fast=True, min_length=1), Listed] | None = None
    generate_content_request: GenerateContentRequest | None = None

    @model_validator(mode="before")
    @classmethod
    def _bounded(cls, value: Any, info: ValidationInfo) -> Any:
        return _within_bounds(value, info)

    @property
    def whole(self) -> GenerateContentRequest:
        """The request whose prompt is counted. Raises InvalidRequest."""
        given = self.generate_content_request
        if (self.contents is None) == (given is None):
            raise InvalidRequest("countTokens needs either contents or a generateContentRequest.", param="contents")
        return given if given is not None else GenerateContentRequest.model_construct(contents=self.contents)
