"""Schemas as the engine gets them: what is refused, what is left out, what is bounded, and that nothing is loosened."""

import json
from pathlib import Path
from typing import Any

import pytest

from server.json_schema import BLANKS, MAX_INTEGER, MAX_ITEMS, MAX_PROPERTIES, SchemaError, enforceable, pointer

TOOLCALLS = Path(__file__).parents[3] / "shared" / "data" / "toolcalls"


@pytest.mark.parametrize(
    ("schema", "rewritten"),
    [
        ({"type": "string", "title": "T", "description": "D", "x-y": 1, "examples": ["a"]}, {"type": "string"}),
        ({"type": "string", "format": "int32"}, {"type": "string", "format": "unknown"}),
        ({"type": "integer"}, {"type": "integer", "minimum": -MAX_INTEGER, "maximum": MAX_INTEGER}),
        ({"type": "integer", "minimum": 3}, {"type": "integer", "minimum": 3, "maximum": MAX_INTEGER}),
        (
            {"type": "integer", "minimum": 3, "exclusiveMinimum": True},
            {"type": "integer", "exclusiveMinimum": 3, "maximum": MAX_INTEGER},
        ),
        ({"type": "integer", "exclusiveMinimum": False, "enum": [1]}, {"type": "integer", "enum": [1]}),
        ({"type": ["integer", "number"]}, {"type": ["integer", "number"]}),
        ({"type": "array", "uniqueItems": False}, {"type": "array", "maxItems": MAX_ITEMS}),
        ({"type": "array", "maxItems": 3}, {"type": "array", "maxItems": 3}),
        ({"type": "object"}, {"type": "object", "maxProperties": MAX_PROPERTIES}),
        ({"properties": {}}, {"properties": {}, "additionalProperties": False}),
        ({"properties": {"a": {}}}, {"properties": {"a": {}}, "additionalProperties": False}),
        (
            {"properties": {"a": True}, "additionalProperties": True},
            {"properties": {"a": True}, "additionalProperties": True},
        ),
        ({"properties": {"a": {}}, "required": ["b"]}, {"properties": {"a": {}}, "required": ["b"]}),
        ({"allOf": [{"properties": {"a": {}}}]}, {"allOf": [{"properties": {"a": {}}}]}),
        (
            {"required": ["a"], "anyOf": [{"properties": {"a": {}}}]},
            {"required": ["a"], "anyOf": [{"properties": {"a": {}}}]},
        ),
    ],
    ids=str,
)
def test_rewriting(schema: dict[str, Any], rewritten: dict[str, Any]) -> None:
    assert enforceable(schema) == rewritten | {"x-guidance": BLANKS}


def test_a_limit_for_strings() -> None:
    found = enforceable({"type": "string"}, 10)
    assert isinstance(found, dict)
    assert found["maxLength"] == 10


def test_clients_cannot_set_the_engines_options() -> None:
    found = enforceable({"type": "string", "x-guidance": {"lenient": True}})
    assert isinstance(found, dict)
    assert found["x-guidance"] == BLANKS


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ([], r"at #\)"),
        ({"properties": {"a/b": {"type": "dict"}}}, r"#/properties/a~1b/type"),
        ({"properties": []}, "#/properties"),
        ({"items": {"anyOf": []}}, "#/items/anyOf"),
        ({"items": {"not": {}}}, "'not' cannot be enforced"),
        ({"if": {}, "then": {}}, "'if' cannot be enforced"),
        ({"format": "regex"}, "format 'regex'"),
        ({"contains": False}, "'contains' cannot be enforced"),
        ({"allOf": [{}], "unevaluatedProperties": False}, "'unevaluatedProperties' cannot be enforced"),
        ({"propertyNames": False}, "'propertyNames' cannot be enforced"),
        ({"propertyNames": {"enum": [1]}}, "'propertyNames' cannot be enforced"),
        ({"if": True, "else": False}, "'if' cannot be enforced"),
        ({"maxItems": 1.5}, "#/maxItems"),
        ({"properties": {"a": {"$id": "x", "items": {"$ref": "#/b"}}}}, r"#/properties/a/\$id"),
        ({"minLength": -1}, "#/minLength"),
        ({"minLength": True}, "#/minLength"),
        ({"exclusiveMinimum": True}, "needs minimum"),
        ({"multipleOf": 0}, "above 0"),
        ({"enum": []}, "#/enum"),
        ({"required": [1]}, "#/required"),
        ({"$ref": "other.json"}, "points out of the schema"),
        ({"$ref": "#/a/b"}, "points at nothing"),
        ({"$ref": 5}, "points out of the schema"),
        ({"properties": {"a": {"minLength": float("inf")}}}, "inf is no number .*#/properties/a/minLength"),
        ({"enum": [1, float("nan")]}, "nan is no number .*#/enum/1"),
        ({"const": "\ud800"}, r"ud800, half of a character .*#/const"),
        ({"properties": {"\udfff": {}}}, r"udfff, half of a character .*#/properties"),
        ({"propertyNames": {"maxLength": True}}, "'propertyNames' cannot be enforced"),
    ],
    ids=repr,
)
def test_refusals_say_where(schema: Any, said: str) -> None:
    with pytest.raises(SchemaError, match=said):
        enforceable(schema)


def test_references_within_the_schema_stay() -> None:
    schema = {"$defs": {"a~b/c": {"type": "null"}}, "anyOf": [{"$ref": "#/$defs/a~0b~1c"}, {"$ref": "#/anyOf/0"}]}
    found = enforceable(schema)
    assert isinstance(found, dict)
    assert found["anyOf"] == schema["anyOf"]


def test_depth_and_size_are_bounded() -> None:
    deep: dict[str, Any] = {}
    for _ in range(200):
        deep = {"items": deep}
    with pytest.raises(SchemaError, match="nested deeper"):
        enforceable(deep)
    with pytest.raises(SchemaError, match="at most"):
        enforceable({"description": "x" * 300_000})


def test_pointers() -> None:
    assert pointer(()) == "#"
    assert pointer(("a/b~", 3)) == "#/a~1b~0/3"


@pytest.mark.skipif(not TOOLCALLS.is_dir(), reason=f"needs {TOOLCALLS}")
def test_published_tools_are_all_taken() -> None:
    count = 0
    for file in sorted((TOOLCALLS / "bfcl_v4").glob("*.openai.jsonl")):
        for line in file.read_text("utf-8").splitlines():
            for tool in json.loads(line).get("tools", ()):
                enforceable(tool["function"].get("parameters") or {})
                count += 1
    assert count > 1000


@pytest.mark.parametrize(
    ("name", "reference", "written"),
    [
        ("a b", "#/$defs/a%20b", "#/$defs/a%20b"),
        ("a b", "#/$defs/a b", "#/$defs/a%20b"),
        ("é", "#/$defs/é", "#/$defs/%C3%A9"),
        ("a%b", "#/$defs/a%25b", "#/$defs/a%25b"),
        ("a/b", "#/$defs/a~1b", "#/$defs/a~1b"),
    ],
)
def test_references_are_fragments(name: str, reference: str, written: str) -> None:
    schema = enforceable({"$defs": {name: {"type": "null"}}, "$ref": reference})
    assert isinstance(schema, dict)
    assert schema["$ref"] == written
