"""Parts of the OpenAPI document that protocols share."""

from typing import Any


def answer(schema: dict[str, Any], description: str) -> dict[str, Any]:
    """`responses` of an operation that answers JSON."""
    return {"200": {"description": description, "content": {"application/json": {"schema": schema}}}}


def list_of(schema: dict[str, Any]) -> dict[str, Any]:
    ends = {"type": ["string", "null"]}
    return {
        "type": "object",
        "required": ["object", "data", "first_id", "last_id", "has_more"],
        "properties": {
            "object": {"const": "list"},
            "data": {"type": "array", "items": schema},
            "first_id": ends,
            "last_id": ends,
            "has_more": {"type": "boolean"},
        },
    }


def query(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}


def deletion(object: str) -> dict[str, Any]:
    """What tells that something is gone."""
    return {
        "type": "object",
        "required": ["id", "object", "deleted"],
        "properties": {"id": {"type": "string"}, "object": {"const": object}, "deleted": {"const": True}},
    }


AFTER = query("after", {"type": "string"}, "The id behind which the page begins")
ORDER = query("order", {"enum": ["asc", "desc"]}, "By the time at which they were made")


def limit(default: int, most: int) -> dict[str, Any]:
    schema = {"type": "integer", "minimum": 1, "maximum": most, "default": default}
    return query("limit", schema, "How many at most")
