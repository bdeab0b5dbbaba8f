"""The wire form of tools, the choice among them, the text's format and reasoning."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, StringConstraints, Tag, ValidationInfo
from pydantic_core import PydanticCustomError

from server.wire import MAX_TOOLS, Parameters, Refused, ToolName, Wire, refuse


class FunctionDeclared(Wire):
    """A function that the model may call. Without `parameters` it takes none."""

    type: Literal["function"]
    name: ToolName
    description: str | None = None
    parameters: Parameters | None = None
    strict: bool | None = None
    output_schema: None = None
    defer_loading: Literal[False] | None = None
    allowed_callers: Annotated[list[Literal["direct"]], Field(max_length=1)] | None = None


def _no_hosted_tool(value: Any) -> Any:
    kind = value.get("type") if isinstance(value, dict) else None
    if isinstance(kind, str) and kind != "function":
        text = "tools of the type {kind} are not supported, only functions; this server runs no tools itself"
        raise PydanticCustomError("refused", text, {"kind": repr(kind[:40])})
    return value


ToolDeclared = Annotated[FunctionDeclared, BeforeValidator(_no_hosted_tool)]


class FunctionNamed(Wire):
    type: Literal["function"]
    name: str


class AllowedTools(Wire):
    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: Annotated[list[FunctionNamed], Field(min_length=1, max_length=MAX_TOOLS)]


def _choice_kind(value: Any) -> str | None:
    if isinstance(value, str):
        return "<word>"
    kind = value.get("type") if isinstance(value, dict) else None
    return f"<{kind}>" if kind in ("function", "allowed_tools") else None


ToolChoiceField = Annotated[
    Annotated[Literal["none", "auto", "required"], Tag("<word>")]
    | Annotated[FunctionNamed, Tag("<function>")]
    | Annotated[AllowedTools, Tag("<allowed_tools>")],
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


class JsonSchemaFormat(Wire):
    type: Literal["json_schema"]
    name: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    description: str | None = None
    # OpenAI's word for it is one that pydantic's models have taken.
    schema_: Annotated[dict[str, Any], Field(alias="schema")]
    strict: bool | None = None


def _format_kind(value: Any) -> str | None:
    kind = value.get("type") if isinstance(value, dict) else None
    return f"<{kind}>" if kind in ("text", "json_object", "json_schema") else None


AnyFormat = Annotated[
    Annotated[TextFormat, Tag("<text>")]
    | Annotated[JsonObjectFormat, Tag("<json_object>")]
    | Annotated[JsonSchemaFormat, Tag("<json_schema>")],
    Discriminator(
        _format_kind,
        custom_error_type="format",
        custom_error_message="a format is an object of the type text, json_object or json_schema",
    ),
]

# Members of `text` and `reasoning` that would promise what is not done here.
MEMBERS: dict[str, Refused] = {
    "verbosity": Refused("say in a message how long the answer is to be", ("medium",)),
    "mode": Refused("there is one way of thinking", ("standard",)),
    "context": Refused("which thoughts stay in the prompt is for the model's template", ("auto", "current_turn")),
    "generate_summary": Refused("deprecated by OpenAI; use summary"),
}


def _member(value: Any, info: ValidationInfo) -> Any:
    assert info.field_name is not None
    return refuse(info.field_name, value, MEMBERS)


RefusedMember = Annotated[Any, AfterValidator(_member)]


def _no_digest(summary: str | None) -> str | None:
    if summary == "concise":
        text = "reasoning.summary is not supported as 'concise': nothing here shortens thoughts; 'detailed' gives them"
        raise PydanticCustomError("refused", "{why}", {"why": text})
    return summary


class Text(Wire):
    format: AnyFormat | None = None
    verbosity: RefusedMember = None


class Reasoning(Wire):
    effort: Literal["none", "medium"] | None = None
    summary: Annotated[Literal["auto", "concise", "detailed"] | None, AfterValidator(_no_digest)] = None
    mode: RefusedMember = None
    context: RefusedMember = None
    generate_summary: RefusedMember = None
