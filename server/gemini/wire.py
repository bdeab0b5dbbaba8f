"""What the wire schemas of Google's protocol share: names as JSON or as protocol buffers have them, what Google's
reader of JSON takes besides, fields that are refused by name."""

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, ValidationInfo
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from server.gemini.fields import REFUSED
from server.wire import Refused, Wire, refuse


class Proto(Wire):
    """Google's APIs take maxOutputTokens and max_output_tokens for the same."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, validate_by_alias=True)


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


def _in_capitals(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


Listed = BeforeValidator(_listed)  # an object stands for a list of one, as in examples of Google's own
InCapitals = BeforeValidator(_in_capitals)  # names of enums, which those examples write either way


def _refusing(prefix: str) -> AfterValidator:
    def check(value: Any, info: ValidationInfo) -> Any:
        assert info.field_name is not None
        return refuse(prefix + to_camel(info.field_name), value, REFUSED)

    return AfterValidator(check)


RefusedField = Annotated[Any, _refusing("")]
RefusedSetting = Annotated[Any, _refusing("generationConfig.")]


def _unsupported(value: Any, info: ValidationInfo) -> Any:
    if value is not None:
        assert info.field_name is not None
        name = to_camel(info.field_name)
        raise PydanticCustomError("refused", "{name} is not supported here", {"name": name})
    return value


def neutral(*values: Any) -> AfterValidator:
    """For a field of which only these values promise nothing."""

    def check(value: Any, info: ValidationInfo) -> Any:
        assert info.field_name is not None
        name = to_camel(info.field_name)
        return refuse(name, value, {name: Refused("leave it out", values)})

    return AfterValidator(check)


Unsupported = Annotated[Any, AfterValidator(_unsupported)]  # what is of no use to a model that reads and writes text
