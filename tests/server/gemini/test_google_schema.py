"""Google's schemas as JSON Schema."""

from typing import Any

import pytest
from google.genai import types

from server.gemini.google_schema import CHILDREN, FORMATS, LISTS, MAPS, NAMES, NUMBERS, TYPES, json_schema

CASES: list[tuple[Any, Any]] = [
    ({"type": "STRING"}, {"type": "string"}),
    ({"type": "string", "description": "x", "title": "y"}, {"type": "string", "description": "x", "title": "y"}),
    ({"type": "STRING", "nullable": True}, {"type": ["string", "null"]}),
    (
        {"type": "STRING", "enum": ["a"], "format": "enum", "nullable": True},
        {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "null"}]},
    ),
    ({"type": "INTEGER", "format": "int32"}, {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}),
    ({"format": "int32", "minimum": 3}, {"minimum": 3, "maximum": 2**31 - 1}),
    ({"minimum": 3, "format": "int32"}, {"minimum": 3, "maximum": 2**31 - 1}),
    ({"type": "NUMBER", "format": "double"}, {"type": "number"}),
    ({"type": "STRING", "format": "date-time"}, {"type": "string", "format": "date-time"}),
    (
        {"type": "ARRAY", "items": {"type": "BOOLEAN"}, "minItems": "1", "max_items": 3},
        {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 3},
    ),
    ({"any_of": [{"type": "STRING"}, {"type": "NULL"}]}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
    (
        {"type": "OBJECT", "properties": {"b": {"type": "STRING"}, "max_items": {}}, "required": ["b"]},
        {"type": "object", "properties": {"b": {"type": "string"}, "max_items": {}}, "required": ["b"]},
    ),
    ({"type": "OBJECT", "example": {"type": "X"}, "default": None}, {"type": "object"}),
    (
        {"ref": "#/defs/a", "defs": {"a": {"type": "STRING"}}},
        {"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}},
    ),
    ("text", "text"),
    (True, True),
]


@pytest.mark.parametrize(("google", "expected"), CASES, ids=str)
def test_what_becomes_of_a_schema(google: Any, expected: Any) -> None:
    assert json_schema(google) == expected


def test_the_order_of_properties() -> None:
    properties = {"a": {}, "b": {}, "c": {}}
    found = json_schema({"properties": properties, "propertyOrdering": ["c", "none", "a", "c"]})
    assert list(found["properties"]) == ["c", "a", "b"]


def test_every_keyword_of_the_sdk_is_known() -> None:
    """By the name that the SDK sends, in which no keyword may be lost as one that says nothing."""
    as_in_json_schema = {"default", "description", "enum", "format", "maximum", "minimum", "pattern", "required"}
    as_in_json_schema |= {"title", "type", "items", "properties"}
    dropped = {"nullable", "example"}
    assert set(types.Schema.model_fields) == as_in_json_schema | dropped | set(NAMES)
    assert as_in_json_schema | set(NAMES.values()) >= CHILDREN | LISTS | MAPS
    assert set(NAMES.values()) >= NUMBERS
    assert {one.value for one in types.Type} == TYPES | {"TYPE_UNSPECIFIED"}
    assert not set(FORMATS) & {"date-time", "date", "time"}
