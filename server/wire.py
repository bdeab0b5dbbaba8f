"""What the wire schemas of all protocols share: strict models, tools' names and parameters, fields that are refused by
name, and bodies read into a schema."""

import asyncio
import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import PydanticCustomError

from server.mistakes import explain

MAX_TOOLS = 512
INT64 = 2**63
SMALL_BODY = 256 * 1024  # bytes that are parsed on the event loop; more goes to a thread
MAX_TOOL_NAME = 64


class Wire(BaseModel):
    """What all parts of a request share: a string is no number, an unknown field is an error."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)


Body = TypeVar("Body", bound=BaseModel)


def parse(schema: type[Body], body: bytes, context: dict[str, Any] | None = None) -> Body:
    """The body as `schema`. Raises InvalidRequest, whatever the bytes. `context` is for its validators."""
    try:
        return schema.model_validate_json(body, context=context)
    except ValidationError as error:
        raise explain(error) from None


async def parse_body(schema: type[Body], body: bytes, context: dict[str, Any] | None = None) -> Body:
    """`parse`, in a thread if it takes long."""
    if len(body) <= SMALL_BODY:
        return parse(schema, body, context)
    return await asyncio.to_thread(parse, schema, body, context)


def _in_names(character: str) -> bool:
    """Whether it may stand in a tool's name. Letters of all scripts have marks that are characters of their own."""
    return character.isalnum() or character in "-._:/" or unicodedata.category(character).startswith("M")


def _tool_name(name: str) -> str:
    if not 1 <= len(name) <= MAX_TOOL_NAME or not all(map(_in_names, name)):
        raise PydanticCustomError("name", "A tool's name has 1 to 64 letters, digits and characters of -._:/")
    return name


def _of_objects(schema: dict[str, Any]) -> dict[str, Any]:
    if schema and schema.get("type", "object") != "object":
        raise PydanticCustomError("parameters", "Parameters are a JSON Schema of the type object")
    return schema


Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]
ToolName = Annotated[str, AfterValidator(_tool_name)]
# Labels that are kept with what is stored.
Metadata = Annotated[
    dict[Annotated[str, StringConstraints(max_length=64)], Annotated[str, StringConstraints(max_length=512)]],
    Field(max_length=16),
]
# A schema that admits other things than objects is none of a function's parameters.
Parameters = Annotated[dict[str, Any], AfterValidator(_of_objects)]


class Refused(NamedTuple):
    """A field that would promise what this server does not do. `neutral` values promise nothing and are accepted."""

    why: str
    neutral: tuple[Any, ...] = ()


def refuse(field: str, value: Any, refused: Mapping[str, Refused]) -> Any:
    """For a validator of the fields in `refused`: null and neutral values pass. The error's kind is "refused"."""
    why, neutral = refused[field]
    if value is not None and not any(type(value) is type(one) and value == one for one in neutral):
        raise PydanticCustomError("refused", "{why}", {"why": f"{field} is not supported: {why}"})
    return value
