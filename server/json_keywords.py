"""JSON Schema's keywords that the engine's grammar does not know: which of them say nothing where they stand, and
which can be said in other words. Knows no path and raises no errors.
"""

import re
from collections.abc import Callable
from typing import Any

# What applies to the same value as the schema that it stands in: what they evaluate is not plain to see.
_IN_PLACE = {"allOf", "anyOf", "oneOf", "$ref", "$dynamicRef", "if", "dependentSchemas", "contains"}
MAX_NAME = 256  # characters of a property's name that are counted
_ANY_NAME: tuple[dict[str, Any], ...] = ({}, {"type": "string"})  # a property's name is a string


def _never(value: Any, schema: dict[str, Any]) -> bool:
    return False


def _empty(value: Any, schema: dict[str, Any]) -> bool:
    return isinstance(value, dict) and not value


def _anything(value: Any, schema: dict[str, Any]) -> bool:
    return value is True or value == {}


# Keyword -> whether this value of it, in this schema, constrains nothing.
_UNENFORCED: dict[str, Callable[[Any, dict[str, Any]], bool]] = {
    "not": lambda value, _: value is False,
    "if": lambda _, schema: not {"then", "else"} & schema.keys(),
    "dependentRequired": _empty,
    "dependentSchemas": _empty,
    "dependencies": _empty,
    "propertyNames": lambda value, _: value is True or value in _ANY_NAME,
    "contains": lambda _, schema: schema.get("minContains") == 0 and "maxContains" not in schema,
    "minContains": lambda _, schema: "contains" not in schema or schema["minContains"] == 0,
    "maxContains": lambda _, schema: "contains" not in schema,
    "uniqueItems": lambda value, _: value is False,
    "unevaluatedItems": _anything,
    "unevaluatedProperties": _anything,
    "$dynamicRef": _never,
    "$recursiveRef": _never,
}


def says_nothing(keyword: str, value: Any, schema: dict[str, Any]) -> bool | None:
    """Whether a keyword that cannot be enforced has no effect here. None: it is not one of those."""
    judge = _UNENFORCED.get(keyword)
    return None if judge is None else value is None or judge(value, schema)


def translated(schema: dict[str, Any]) -> dict[str, Any]:
    """The same constraints without those of the unenforced keywords that have other words."""
    schema = _without_unevaluated(schema, "unevaluatedProperties", "additionalProperties")
    schema = _without_unevaluated(schema, "unevaluatedItems", "items")
    return _without_property_names(schema)


def _without_unevaluated(schema: dict[str, Any], keyword: str, other: str) -> dict[str, Any]:
    """With nothing else in place, what is unevaluated is what `other` is about."""
    if keyword not in schema or _IN_PLACE & schema.keys():
        return schema
    rest = {name: value for name, value in schema.items() if name != keyword}
    if other == "items" and isinstance(schema.get("items"), list):
        other = "additionalItems"
    return {**rest, other: rest.get(other, schema[keyword])}


def _without_property_names(schema: dict[str, Any]) -> dict[str, Any]:
    """What can be said of names by a pattern, where the object declares no properties, are patternProperties."""
    if "propertyNames" not in schema or {"properties", "patternProperties"} & schema.keys():
        return schema
    pattern = _pattern_of_names(schema["propertyNames"])
    if pattern is None:
        return schema
    rest = {keyword: value for keyword, value in schema.items() if keyword != "propertyNames"}
    values = rest.get("additionalProperties", True)
    return {**rest, "patternProperties": {pattern: values}, "additionalProperties": False}


def _counts(value: Any) -> bool:
    """Whether it is a number of characters that are counted; True is none."""
    return type(value) is int and 0 <= value <= MAX_NAME


def _pattern_of_names(names: Any) -> str | None:
    """The pattern that says the same as a schema of names; None if there is none, or too long a one."""
    if not isinstance(names, dict):
        return None
    match {keyword: value for keyword, value in names.items() if (keyword, value) != ("type", "string")}:
        case {"pattern": str(pattern), **rest} if not rest:
            return pattern
        case {"enum": [*values], **rest} if not rest and values and all(isinstance(value, str) for value in values):
            return f"^({'|'.join(map(re.escape, values))})$"
        case {"maxLength": most, **rest} if rest.keys() <= {"minLength"} and _counts(most):
            least = rest.get("minLength", 0)
            return f"^[\\s\\S]{{{least},{most}}}$" if _counts(least) and least <= most else None
        case {"minLength": least, **rest} if not rest and _counts(least):
            return f"^[\\s\\S]{{{least},}}$"
    return None
