"""JSON Schemas that clients send: checks them, and rewrites them for the engine's grammar.

Knows no protocol and no model. What cannot be enforced is refused by name and place (a JSON pointer), never dropped;
keywords that JSON Schema does not define constrain nothing and are left out. References are followed within the
schema only: nothing is ever fetched.
"""

import itertools
import json
import math
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote

from server.json_formats import FORMATS, NARROWER, UNENFORCED_FORMATS
from server.json_keywords import says_nothing, translated

MAX_BYTES = 256 * 1024  # of one schema, as compact JSON
MAX_DEPTH = 64  # schemas within schemas
MAX_STEPS = 256  # values within values
# What a schema leaves open is bounded, so that a model cannot go on for ever.
MAX_INTEGER = 9 * 10**18  # in both directions; covers the ids of 64 bits that are in use
MAX_ITEMS = 4096
MAX_PROPERTIES = 256  # of an object that declares none, or only required ones, and admits others

TYPES = ("string", "number", "integer", "boolean", "object", "array", "null")
# The engine's way with blanks: none, or one behind a comma or a colon.
BLANKS = {"whitespace_flexible": False, "item_separator": ", ?", "key_separator": ": ?"}
ANY_OBJECT: dict[str, Any] = {"type": "object"}
NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}


class SchemaError(ValueError):
    """The schema is wrong or cannot be enforced. The text, for the client, says where."""

    def __init__(self, text: str, path: tuple[str | int, ...] = ()) -> None:
        super().__init__(f"{text} (at {pointer(path)})")


class Unenforceable(SchemaError):
    """A right schema, as far as it was read, of which something cannot be enforced."""


def pointer(path: tuple[str | int, ...]) -> str:
    """RFC 6901, as a fragment: #/properties/a~1b."""
    return "#" + "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)[:400]


def enforceable(schema: Any, string_limit: int | None = None) -> dict[str, Any] | bool:
    """The schema for the engine's `%json`: checked, bounded, without what says nothing. `string_limit`: characters of
    strings that the schema leaves open. Raises SchemaError."""
    _check_writable(schema)
    size = len(json.dumps(schema, ensure_ascii=False, separators=(",", ":")))
    if size > MAX_BYTES:
        raise SchemaError(f"the schema has {size:,} characters; at most {MAX_BYTES:,} are taken")
    rewritten = _Rewriter(schema, string_limit).schema(schema, ())
    return {**rewritten, "x-guidance": BLANKS} if isinstance(rewritten, dict) else rewritten


def _check_writable(schema: Any) -> None:
    """Refuses what JSON has no words for: numbers that are none, halves of characters. Without recursion: how deep the
    schema goes is not known yet."""
    todo: list[tuple[Any, tuple[str | int, ...]]] = [(schema, ())]
    while todo:
        value, path = todo.pop()
        if len(path) > MAX_STEPS:
            raise SchemaError(f"values are nested deeper than {MAX_STEPS}", path)
        if isinstance(value, float) and not math.isfinite(value):
            raise SchemaError(f"{value} is no number that JSON can write", path)
        if isinstance(value, str):
            _check_text(value, path)
        elif isinstance(value, dict):
            for name in value:
                _check_text(name, path)
            todo += [(one, (*path, name)) for name, one in value.items()]
        elif isinstance(value, list):
            todo += [(one, (*path, index)) for index, one in enumerate(value)]


def _check_text(text: str, path: tuple[str | int, ...]) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = text[error.start].encode("ascii", "backslashreplace").decode()
        raise SchemaError(f"a text has {half}, half of a character", path) from None


class _Rewriter:
    """One walk through a schema; `root` is what its references are resolved in."""

    def __init__(self, root: Any, string_limit: int | None) -> None:
        self._root = root
        self._string_limit = string_limit
        # Closed objects cannot be intersected: an allOf may refer to any definition.
        self._closes_definitions = '"allOf"' not in json.dumps(root)

    def schema(self, schema: Any, path: tuple[str | int, ...]) -> dict[str, Any] | bool:
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, dict):
            raise SchemaError(f"a schema is an object or a boolean, not {_shown(schema)}", path)
        if len(path) > 2 * MAX_DEPTH:
            raise SchemaError(f"schemas are nested deeper than {MAX_DEPTH}", path)
        self._check_base(schema, path)
        schema = translated(schema)
        rewritten: dict[str, Any] = {}
        for keyword, value in schema.items():
            if says_nothing(keyword, value, schema) is False:
                raise Unenforceable(f"the keyword {keyword!r} cannot be enforced here; leave it out", (*path, keyword))
            check = _CHECKS.get(keyword)
            if check is not None:
                rewritten[keyword] = check(self, value, (*path, keyword))
        return self._closed(self._bounded(_with_narrower_format(_draft_4_limits(rewritten, path))), path)

    def _check_base(self, schema: dict[str, Any], path: tuple[str | int, ...]) -> None:
        """References below an `$id` of its own would begin there, not at the root."""
        if path and isinstance(schema.get("$id"), str) and '"$ref"' in json.dumps(schema):
            raise Unenforceable(
                "an $id within the schema, with references below it, is not followed here", (*path, "$id")
            )

    def _closed(self, schema: dict[str, Any], path: tuple[str | int, ...]) -> dict[str, Any]:
        """An object has the properties that it declares, and no others, unless the schema speaks of others; one that
        may have others has a limited number. Parts of an intersection are left open."""
        open_for_more = {
            "additionalProperties",
            "patternProperties",
            "allOf",
            "anyOf",
            "oneOf",
            "$ref",
            "maxProperties",
        }
        if "allOf" in path or (not self._closes_definitions and {"$defs", "definitions"} & set(path)):
            return schema
        properties, required = schema.get("properties", {}), schema.get("required", ())
        if "properties" in schema and not open_for_more & schema.keys() and set(required) <= properties.keys():
            if len(properties) >= schema.get("minProperties", 0) and not self._within_alternatives(path):
                schema["additionalProperties"] = False
        elif schema.get("type") == "object" and not {"properties", "maxProperties", "allOf", "$ref"} & schema.keys():
            schema["maxProperties"] = max(MAX_PROPERTIES, schema.get("minProperties", 0))
        return schema

    def _within_alternatives(self, path: tuple[str | int, ...]) -> bool:
        """Whether the schema at `path` is, or is part of, an alternative that is intersected with what stands beside
        the anyOf."""
        beside = self._root
        for step, inner in itertools.pairwise((*path, None)):
            is_alternative = step in ("anyOf", "oneOf") and isinstance(inner, int) and isinstance(beside, dict)
            if is_alternative and {"properties", "additionalProperties", "required", "allOf"} & beside.keys():
                return True
            try:
                beside = beside[step]
            except (KeyError, IndexError, TypeError):  # a keyword that was said in other words
                return False
        return False

    def subschemas(self, value: Any, path: tuple[str | int, ...]) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise SchemaError(f"an object of schemas is needed, not {_shown(value)}", path)
        return {name: self.schema(one, (*path, name)) for name, one in value.items()}

    def alternatives(self, value: Any, path: tuple[str | int, ...]) -> list[Any]:
        if not isinstance(value, list) or not value:
            raise SchemaError(f"a list of schemas is needed, not {_shown(value)}", path)
        return [self.schema(one, (*path, index)) for index, one in enumerate(value)]

    def items(self, value: Any, path: tuple[str | int, ...]) -> Any:
        """Draft 7 has a list here for what is now prefixItems."""
        return self.alternatives(value, path) if isinstance(value, list) else self.schema(value, path)

    def reference(self, value: Any, path: tuple[str | int, ...]) -> str:
        if not isinstance(value, str) or not (value == "#" or value.startswith("#/")):
            raise SchemaError(
                f"{_shown(value)} points out of the schema; references are followed within it only (#/$defs/...)", path
            )
        target, parts = self._root, unquote(value)
        for step in parts.split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(target, list) and name.isdecimal() and int(name) < len(target):
                target = target[int(name)]
            elif isinstance(target, dict) and name in target:
                target = target[name]
            else:
                raise SchemaError(f"{_shown(value)} points at nothing", path)
        return "#" + quote(parts[1:], safe="/~$")  # a fragment as RFC 3986 has it, which the engine's grammar wants

    def _bounded(self, schema: dict[str, Any]) -> dict[str, Any]:
        """With limits where the schema has none. Numbers with a fraction have none: limits would forbid exponents."""
        if "enum" in schema or "const" in schema:
            return schema
        types = schema.get("type", ())
        types = [types] if isinstance(types, str) else types
        if "integer" in types and "number" not in types:
            if not {"minimum", "exclusiveMinimum"} & schema.keys():
                schema["minimum"] = min(-MAX_INTEGER, *_limits(schema, "maximum", "exclusiveMaximum"))
            if not {"maximum", "exclusiveMaximum"} & schema.keys():
                schema["maximum"] = max(MAX_INTEGER, *_limits(schema, "minimum", "exclusiveMinimum"))
        if "array" in types:
            schema.setdefault("maxItems", max(MAX_ITEMS, schema.get("minItems", 0)))
        if "string" in types and self._string_limit is not None and not {"pattern", "format"} & schema.keys():
            schema.setdefault("maxLength", max(self._string_limit, schema.get("minLength", 0)))
        return schema


def _limits(schema: dict[str, Any], *keywords: str) -> list[float]:
    # Two values at least, for min() and max() of them and the bound.
    return [schema.get(keyword, 0) for keyword in keywords]


def _draft_4_limits(schema: dict[str, Any], path: tuple[str | int, ...]) -> dict[str, Any]:
    """`exclusiveMinimum: true` beside `minimum`, as draft 4 has it, in today's words."""
    for exclusive, inclusive in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        flag = schema.get(exclusive)
        if isinstance(flag, bool):
            del schema[exclusive]
            if flag and inclusive not in schema:
                raise SchemaError(f"{exclusive}: true needs {inclusive}", (*path, exclusive))
            if flag:
                schema[exclusive] = schema.pop(inclusive)
    return schema


def _with_narrower_format(schema: dict[str, Any]) -> dict[str, Any]:
    pattern = NARROWER.get(schema.get("format", ""))
    if pattern is not None and "pattern" in schema:
        schema["allOf"] = [*schema.get("allOf", ()), {"pattern": pattern}]
    elif pattern is not None:
        schema["pattern"] = pattern
    return schema


Check = Callable[[_Rewriter, Any, tuple[str | int, ...]], Any]


def _needs(what: str, accepts: Callable[[Any], bool]) -> Check:
    """A check of a plain value."""

    def check(_: _Rewriter, value: Any, path: tuple[str | int, ...]) -> Any:
        if not accepts(value):
            raise SchemaError(f"{what} is needed, not {_shown(value)}", path)
        return value

    return check


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are_types(value: Any) -> bool:
    named = value if isinstance(value, list) else [value]
    return bool(named) and all(isinstance(one, str) and one in TYPES for one in named)


def _format(_: _Rewriter, value: Any, path: tuple[str | int, ...]) -> str:
    if not isinstance(value, str):
        raise SchemaError(f"the name of a format is needed, not {_shown(value)}", path)
    if value in UNENFORCED_FORMATS:
        raise Unenforceable(f"the format {value!r} cannot be enforced here; these can: {', '.join(FORMATS)}", path)
    return value if value in FORMATS else "unknown"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def _count(_: _Rewriter, value: Any, path: tuple[str | int, ...]) -> int:
    if not _is_number(value) or value < 0 or value != int(value):
        raise SchemaError(f"a whole number from 0 on is needed, not {_shown(value)}", path)
    return int(value)


_LIMIT = _needs("a number", _is_number)
_LIMIT_OR_FLAG = _needs("a number", lambda value: isinstance(value, bool) or _is_number(value))
# Keyword -> its check. Those that are not here say nothing about what is valid.
_CHECKS: dict[str, Check] = {
    "type": _needs(f"one of {', '.join(TYPES)}, or a list of them,", _are_types),
    "enum": _needs("a list of at least one value", lambda value: isinstance(value, list) and bool(value)),
    "const": lambda _, value, __: value,
    "format": _format,
    "pattern": _needs("a regular expression", lambda value: isinstance(value, str)),
    "minLength": _count,
    "maxLength": _count,
    "minItems": _count,
    "maxItems": _count,
    "minProperties": _count,
    "maxProperties": _count,
    "minimum": _LIMIT,
    "maximum": _LIMIT,
    "exclusiveMinimum": _LIMIT_OR_FLAG,
    "exclusiveMaximum": _LIMIT_OR_FLAG,
    "multipleOf": _needs("a number above 0", lambda value: _is_number(value) and value > 0),
    "required": _needs(
        "a list of names", lambda value: isinstance(value, list) and all(isinstance(one, str) for one in value)
    ),
    "properties": _Rewriter.subschemas,
    "patternProperties": _Rewriter.subschemas,
    "$defs": _Rewriter.subschemas,
    "definitions": _Rewriter.subschemas,
    "additionalProperties": _Rewriter.schema,
    "items": _Rewriter.items,
    "prefixItems": _Rewriter.alternatives,
    "additionalItems": _Rewriter.schema,
    "allOf": _Rewriter.alternatives,
    "anyOf": _Rewriter.alternatives,
    "oneOf": _Rewriter.alternatives,
    "$ref": _Rewriter.reference,
}
