"""What is wrong with a request, in one sentence for whoever wrote it: pydantic's findings without pydantic's words."""

import json
import re
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from server.errors import InvalidRequest

PATH_LENGTH = 200
EXCERPT_LENGTH = 40

# pydantic's kind of error -> what goes behind the parameter's name; {…} are pydantic's own figures.
WORDS = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "string_type": "must be a string",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "none_required": "must be null",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "string_pattern_mismatch": "is not a token id",
}
# The same where the value itself would say nothing.
LENGTH_WORDS = {
    "too_short": "must have at least {min_length} item{s}",
    "too_long": "has {actual_length} items; at most {max_length} are allowed",
    "string_too_short": "must have at least {min_length} character{s}",
    "string_too_long": "must have at most {max_length} characters",
}
JSON_WORDS = {"True": "true", "False": "false", "None": "null"}
PART_TYPE = re.compile(r".*\bcontent\[\d+\]\.type")


def explain(error: ValidationError) -> InvalidRequest:
    """The first mistake, with the path as a client would write it: messages[0].content."""
    first: dict[str, Any] = dict(error.errors(include_url=False)[0])
    kind = first["type"]
    context = {
        name: f"{value:g}" if isinstance(value, float) else value for name, value in first.get("ctx", {}).items()
    }
    param = _path(first["loc"])
    if kind == "json_invalid":
        return InvalidRequest(f"The body is not JSON that can be read: {context['error']}.", code="invalid_json")
    if param is None and kind in ("model_type", "model_attributes_type", "dict_type"):
        return InvalidRequest("The body must be a JSON object.", code="invalid_type")
    if param is None:  # what takes more than one field
        return InvalidRequest(f"{first['msg'].removeprefix('Value error, ')}.")
    if kind == "extra_forbidden":
        return InvalidRequest(f"There is no parameter {param!r}.", param=param, code="unknown_parameter")
    if kind == "missing":
        return InvalidRequest(f"The parameter {param!r} is missing.", param=param, code="missing_required_parameter")
    if kind == "refused":
        return InvalidRequest(f"{first['msg']}.", param=param, code="unsupported_parameter")
    return InvalidRequest(f"{param}{_said(kind, first, context, param)}.", param=param)


def _said(kind: str, first: dict[str, Any], context: dict[str, Any], param: str) -> str:
    value = first["input"]
    if kind == "literal_error" and PART_TYPE.fullmatch(param):
        return f" is {_excerpt(value)}; only text is supported here"
    if kind in LENGTH_WORDS:
        plural = "" if context.get("min_length") == 1 else "s"
        return " " + LENGTH_WORDS[kind].format(**context, s=plural)
    if kind in WORDS:
        said = WORDS[kind].format(**context)
        if kind == "literal_error":
            said = re.sub(r"\b(True|False|None)\b", lambda word: JSON_WORDS[word[0]], said)
        return f" {said}, not {_excerpt(value)}"
    message = first["msg"].removeprefix("Value error, ")
    if message.startswith("must "):
        return f" {message}, not {_excerpt(value)}"
    return f": {message}"


def _excerpt(value: Any) -> str:
    """A value as JSON has it, cut short."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**EXCERPT_LENGTH:
        return "a number that long"
    if isinstance(value, str) and len(value) > EXCERPT_LENGTH:
        value = value[:EXCERPT_LENGTH] + "…"
    return json.dumps(value, ensure_ascii=False, default=lambda other: type(other).__name__)


def _path(loc: Sequence[int | str]) -> str | None:
    """messages[0].content; the tags of unions (in angle brackets) are ours, not the client's."""
    path = ""
    for step in loc:
        if isinstance(step, int):
            path += f"[{step}]"
        elif step != "[key]" and not re.fullmatch(r"<\w+>", step):
            path += f".{step}" if path else step
    return path[:PATH_LENGTH] or None
