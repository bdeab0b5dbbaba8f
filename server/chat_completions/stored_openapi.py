"""What the OpenAPI document says of stored chat completions."""

from typing import Any

from server.openapi_parts import AFTER, ORDER, answer, deletion, limit, list_of, query

METADATA = {
    "type": ["object", "null"],
    "maxProperties": 16,
    "additionalProperties": {"type": "string", "maxLength": 512},
}
MESSAGE = {
    "type": "object",
    "required": ["id", "role", "content"],
    "properties": {
        "id": {"type": "string"},
        "role": {"type": "string"},
        "content": {"type": ["string", "null"]},
        "content_parts": {"type": ["array", "null"], "description": "The parts, if the content came in parts"},
    },
}
_completion = {"$ref": "#/components/schemas/ChatCompletion"}
_labels = query("metadata", METADATA, "Only with these: `metadata[key]=value`")

LIST: dict[str, Any] = {
    "parameters": [
        AFTER,
        limit(20, 100),
        ORDER,
        query("model", {"type": "string"}, "Only those that asked for this model"),
        {**_labels, "style": "deepObject", "explode": True},
    ],
    "responses": answer(list_of(_completion), "A page of answers, the oldest first unless `order` is desc"),
}
RETRIEVE: dict[str, Any] = {"responses": answer(_completion, "The answer, with its `metadata`")}
UPDATE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["metadata"],
                    "additionalProperties": False,
                    "properties": {"metadata": METADATA},
                }
            }
        },
    },
    "responses": answer(_completion, "The answer, with its new `metadata`"),
}
DELETED: dict[str, Any] = {"responses": answer(deletion("chat.completion.deleted"), "The answer is gone")}
LIST_MESSAGES: dict[str, Any] = {
    "parameters": [AFTER, limit(20, 100), ORDER],
    "responses": answer(list_of(MESSAGE), "A page of the messages that were answered, in their order"),
}
ERRORS = (400, 401, 404, 413, 415, 500, 503)
