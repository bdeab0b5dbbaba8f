"""Google's schemas as JSON Schema: types in capitals, nullable, formats that are types of protocol buffers. What JSON
Schema has as well is left as it is; what cannot be enforced is refused where all schemas are."""

from typing import Any

TYPES = frozenset({"STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL"})
# Formats that say how a value is kept, or that the schema has an enum, and their bounds.
FORMATS: dict[str, dict[str, int]] = {
    "int32": {"minimum": -(2**31), "maximum": 2**31 - 1},
    "int64": {},
    "float": {},
    "double": {},
    "enum": {},
}
NUMBERS = frozenset(
    {"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"}
)  # 64-bit integers, which JSON of protocol buffers may have as text
CHILDREN, LISTS, MAPS = {"items", "additionalProperties"}, {"anyOf"}, {"properties", "$defs"}
# As protocol buffers and Google's SDK have them.
NAMES = {
    "any_of": "anyOf",
    "additional_properties": "additionalProperties",
    "max_items": "maxItems",
    "min_items": "minItems",
    "max_length": "maxLength",
    "min_length": "minLength",
    "max_properties": "maxProperties",
    "min_properties": "minProperties",
    "property_ordering": "propertyOrdering",
    "ref": "$ref",
    "defs": "$defs",
}


def json_schema(schema: Any) -> Any:
    """What is no object is returned as it is: whoever checks the schema says so."""
    if not isinstance(schema, dict):
        return schema
    found: dict[str, Any] = {}
    schema = {NAMES.get(keyword, keyword): value for keyword, value in schema.items()}
    for keyword, value in schema.items():
        if value is None or keyword in ("nullable", "propertyOrdering", "example"):
            continue
        if keyword == "type" and isinstance(value, str) and value.upper() in TYPES:
            found["type"] = value.lower()
        elif keyword == "format" and isinstance(value, str) and value in FORMATS:
            found = FORMATS[value] | found
        elif keyword == "$ref" and isinstance(value, str):
            found["$ref"] = value.replace("#/defs/", "#/$defs/")
        elif keyword in NUMBERS and isinstance(value, str) and value.isdecimal() and len(value) < 20:
            found[keyword] = int(value)
        else:
            found[keyword] = _within(keyword, value)
    _order(found, schema.get("propertyOrdering"))
    return _or_null(found) if schema.get("nullable") is True else found


def _within(keyword: str, value: Any) -> Any:
    """The value of a keyword, whose schemas are Google's too."""
    if keyword in CHILDREN:
        return json_schema(value)
    if keyword in LISTS and isinstance(value, list):
        return [json_schema(one) for one in value]
    if keyword in MAPS and isinstance(value, dict):
        return {name: json_schema(one) for name, one in value.items()}
    return value


def _order(found: dict[str, Any], ordering: Any) -> None:
    """Properties are written in the order of the schema."""
    properties = found.get("properties")
    if isinstance(properties, dict) and isinstance(ordering, list):
        first = [name for name in ordering if isinstance(name, str) and name in properties]
        found["properties"] = {name: properties[name] for name in dict.fromkeys([*first, *properties])}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    if isinstance(schema.get("type"), str) and "enum" not in schema:
        return schema | {"type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}
