"""The wire form of tools, the choice among them, and what the answer's text must match."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, StringConstraints, Tag

from server.wire import MAX_TOOLS, Parameters, ToolName, Wire

MAX_CHOICES = 1024
MAX_SOURCE = 65536  # characters of a regular expression or a grammar


class FunctionDeclared(Wire):
    """A function that the model may call. Without `parameters` it takes none."""

    name: ToolName
    description: str | None = None
    parameters: Parameters | None = None
    strict: bool | None = None


class ToolDeclared(Wire):
    type: Literal["function"]
    function: FunctionDeclared


class FunctionNamed(Wire):
    name: str


class FunctionChoice(Wire):
    type: Literal["function"]
    function: FunctionNamed


class AllowedTools(Wire):
    mode: Literal["auto", "required"]
    tools: Annotated[list[FunctionChoice], Field(min_length=1, max_length=MAX_TOOLS)]


class AllowedToolsChoice(Wire):
    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


def _choice_kind(value: Any) -> str | None:
    if isinstance(value, str):
        return "<word>"
    kind = value.get("type") if isinstance(value, dict) else None
    return f"<{kind}>" if kind in ("function", "allowed_tools") else None


ToolChoiceField = Annotated[
    Annotated[Literal["none", "auto", "required"], Tag("<word>")]
    | Annotated[FunctionChoice, Tag("<function>")]
    | Annotated[AllowedToolsChoice, Tag("<allowed_tools>")],
    Discriminator(
        _choice_kind,
        custom_error_type="tool_choice",
        custom_error_message="tool_choice is 'none', 'auto', 'required', a function or allowed_tools",
    ),
]


class TextFormat(Wire):
    type: Literal["text"]


class JsonObjectFormat(Wire):
    type: Literal["json_object"]


class JsonSchema(Wire):
    name: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    description: str | None = None
    # OpenAI's word for it is one that pydantic's models have taken.
    schema_: Annotated[Any, Field(alias="schema")]
    strict: bool | None = None


class JsonSchemaFormat(Wire):
    type: Literal["json_schema"]
    json_schema: JsonSchema


def _format_kind(value: Any) -> str | None:
    kind = value.get("type") if isinstance(value, dict) else None
    return f"<{kind}>" if kind in ("text", "json_object", "json_schema") else None


ResponseFormat = Annotated[
    Annotated[TextFormat, Tag("<text>")]
    | Annotated[JsonObjectFormat, Tag("<json_object>")]
    | Annotated[JsonSchemaFormat, Tag("<json_schema>")],
    Discriminator(
        _format_kind,
        custom_error_type="response_format",
        custom_error_message="response_format is an object of the type text, json_object or json_schema",
    ),
]

GuidedText = Annotated[str, StringConstraints(min_length=1, max_length=MAX_SOURCE)]
Choices = Annotated[
    list[Annotated[str, StringConstraints(min_length=1, max_length=1024)]], Field(min_length=1, max_length=MAX_CHOICES)
]


class StructuredOutputs(Wire):
    """vLLM's extension. Exactly one of them."""

    json_: Annotated[Any, Field(alias="json")] = None
    regex: GuidedText | None = None
    choice: Choices | None = None
    grammar: GuidedText | None = None
    json_object: bool | None = None


class Thinking(Wire):
    """Moonshot's switch."""

    type: Literal["enabled", "disabled"]
