"""The texts between a parameter's tags and the JSON values that they stand for, by the parameter's schema.

A parameter that can only be a string is its text, whatever it says. Any other text is what it reads as, of the types
that the schema admits, and else a string:

    reads as           if it is
    null               null, None
    boolean            true, True, false, False        (None and True: the template writes Python's words)
    integer, number    a number of JSON
    object, array      anything that begins with { or [
"""

import json
import re
from collections.abc import Callable
from typing import Any

STRING = "string"
CONTAINERS = {"{": "object", "[": "array"}
WORDS: dict[str, Any] = {"null": None, "None": None, "true": True, "True": True, "false": False, "False": False}
INTEGER = r"-?(0|[1-9][0-9]*)"
NUMBER = INTEGER + r"(\.[0-9]+)?([eE][+-]?[0-9]+)?"
MAX_REFERENCES = 16  # one behind another

NUMBERS = frozenset({"integer", "number"})
_ALL_TYPES = frozenset({STRING, "number", "integer", "boolean", "null", "object", "array"})
_NUMBER_PATTERNS = {"integer": re.compile(INTEGER), "number": re.compile(NUMBER)}
_LIKE_A_NUMBER = re.compile(r"[-+.eE0-9]*")


def types_of(schema: Any, root: Any, depth: int = 0) -> frozenset[str]:
    """The JSON types that values of this schema may have, "number" for a number of any kind and "integer" where only
    whole ones are meant. `root` is what references are resolved in."""
    if not isinstance(schema, dict) or depth > MAX_REFERENCES:
        return _ALL_TYPES
    found = _ALL_TYPES
    if "type" in schema:
        named = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        found &= frozenset(one for name in named for one in ((name, "integer") if name == "number" else (name,)))
    if "enum" in schema or "const" in schema:
        values = [schema["const"]] if "const" in schema else schema["enum"]
        found &= frozenset(name for value in values for name in _types_of_value(value))
    for keyword in ("anyOf", "oneOf"):
        if isinstance(schema.get(keyword), list):
            found &= frozenset().union(*(types_of(one, root, depth + 1) for one in schema[keyword]))
    for one in schema.get("allOf", ()):
        found &= types_of(one, root, depth + 1)
    if "$ref" in schema:
        found &= types_of(resolved(schema["$ref"], root), root, depth + 1)
    return found


def followed(parameters: dict[str, Any]) -> dict[str, Any]:
    """The schema of all parameters together, where that is a reference to one of its definitions."""
    root = parameters
    for _ in range(MAX_REFERENCES):
        if "$ref" not in root:
            break
        target = resolved(root["$ref"], parameters)
        beside = {keyword: value for keyword, value in root.items() if keyword != "$ref"}
        root = {**target, **beside} if isinstance(target, dict) else beside
    return root


def resolved(reference: Any, root: Any) -> Any:
    """What a reference within `root` points at; True, which admits everything, if that is nothing."""
    target = root
    for step in str(reference).split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        target = target.get(name, True) if isinstance(target, dict) else True
    return target


def admits_word(schema: Any, value: bool | None, root: Any, depth: int = 0) -> bool:
    """Whether null, true or false is valid by this schema."""
    if not isinstance(schema, dict) or depth > MAX_REFERENCES:
        return schema is not False
    name = "null" if value is None else "boolean"
    named = schema.get("type", name)
    inner: Callable[[Any], bool] = lambda one: admits_word(one, value, root, depth + 1)  # noqa: E731
    return (
        (name == named or name in named)
        and _is_among(value, schema.get("enum", [value]))
        and _is_among(value, [schema.get("const", value)])
        and ("anyOf" not in schema or any(map(inner, schema["anyOf"])))
        and ("oneOf" not in schema or sum(map(inner, schema["oneOf"])) == 1)
        and all(map(inner, schema.get("allOf", ())))
        and ("$ref" not in schema or inner(resolved(schema["$ref"], root)))
    )


def json_of(text: str, types: frozenset[str]) -> str:
    """The JSON that a whole text stands for."""
    if STRING not in types:
        text = text.strip()
    if types != {STRING}:
        kind = _reads_as(text, types)
        if kind in ("null", "boolean"):
            return json.dumps(WORDS[text])
        if kind is not None:
            return text
    return json.dumps(text, ensure_ascii=False)


def is_open(text: str, types: frozenset[str]) -> bool:
    """Whether a text that begins so may still read as something else than a string."""
    if STRING not in types or any(word.startswith(text) for word in WORDS):
        return types != {STRING}
    return bool(types & NUMBERS) and _LIKE_A_NUMBER.fullmatch(text) is not None


def _reads_as(text: str, types: frozenset[str]) -> str | None:
    if text in WORDS:
        kind = "null" if WORDS[text] is None else "boolean"
        return kind if kind in types else None
    if text[:1] in CONTAINERS:
        kind = CONTAINERS[text[0]]
        return kind if kind in types else None
    for kind, pattern in _NUMBER_PATTERNS.items():
        if kind in types and pattern.fullmatch(text):
            return kind
    return None


def _types_of_value(value: Any) -> tuple[str, ...]:
    if isinstance(value, bool):
        return ("boolean",)
    if isinstance(value, int):
        return ("integer", "number")
    if isinstance(value, float):
        return ("integer", "number") if value.is_integer() else ("number",)
    kinds = {str: STRING, type(None): "null", dict: "object", list: "array"}
    return (kinds[type(value)],)


def _is_among(value: bool | None, values: list[Any]) -> bool:
    return any(one is value for one in values)
