"""The wire form of tools and of the choice among them."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from server.messages.blocks import CacheControl
from server.wire import Parameters, Wire

TOOL_NAME = r"[a-zA-Z0-9_.:/-]{1,128}"  # more than Anthropic's, as other protocols have it here


def _tool_name(name: str) -> str:
    if re.fullmatch(TOOL_NAME, name) is None:
        raise PydanticCustomError("name", "A tool's name has 1 to 128 letters, digits and characters of -._:/")
    return name


class CustomTool(Wire):
    """A tool that the client runs. What it is called with is always streamed as it is made (`eager_input_streaming`
    false would only make it late), and it is always told to the model at once."""

    name: Annotated[str, AfterValidator(_tool_name)]
    input_schema: Parameters
    type: Literal["custom"] | None = None
    description: str | None = None
    strict: bool | None = None
    cache_control: CacheControl | None = None
    eager_input_streaming: bool | None = None
    defer_loading: Literal[False] | None = None
    input_examples: Annotated[list[Any], Field(max_length=0)] | None = None
    allowed_callers: list[Literal["direct"]] | None = None


def _custom(value: Any) -> Any:
    kind = value.get("type") if isinstance(value, dict) else None
    if isinstance(kind, str) and kind != "custom":
        raise PydanticCustomError(
            "tool",
            "{kind} is a tool of Anthropic's own, which is not known here; declare tools with an input_schema",
            {"kind": kind[:40]},
        )
    return value


ToolDeclared = Annotated[CustomTool, BeforeValidator(_custom)]


class AutoChoice(Wire):
    type: Literal["auto"]
    disable_parallel_tool_use: bool | None = None


class AnyChoice(Wire):
    type: Literal["any"]
    disable_parallel_tool_use: bool | None = None


class NamedChoice(Wire):
    type: Literal["tool"]
    name: str
    disable_parallel_tool_use: bool | None = None


class NoChoice(Wire):
    type: Literal["none"]


def _choice_kind(value: Any) -> str | None:
    kind = value.get("type") if isinstance(value, dict) else None
    return f"<{kind}>" if kind in ("auto", "any", "tool", "none") else None


ToolChoiceField = Annotated[
    Annotated[AutoChoice, Tag("<auto>")]
    | Annotated[AnyChoice, Tag("<any>")]
    | Annotated[NamedChoice, Tag("<tool>")]
    | Annotated[NoChoice, Tag("<none>")],
    Discriminator(
        _choice_kind,
        custom_error_type="tool_choice",
        custom_error_message="tool_choice is an object of the type auto, any, tool or none",
    ),
]
