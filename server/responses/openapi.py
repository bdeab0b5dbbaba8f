"""What the OpenAPI document says of responses and conversations, whose routes read bodies and write answers
themselves."""

from typing import Any

from server.openapi_parts import AFTER, ORDER, answer, deletion, limit, list_of, query
from server.responses.schema import AddItems, CountRequest, CreateConversation, ResponseRequest, UpdateConversation
from server.wire import Wire

REFERENCE = "#/components/schemas/"
PREFIX = "Responses"  # of the parts' names: other protocols have parts of the same names

ITEM = {
    "type": "object",
    "required": ["id", "type"],
    "properties": {
        "id": {"type": "string"},
        "type": {"enum": ["message", "function_call", "function_call_output", "reasoning"]},
    },
}
RESPONSE = {
    "type": "object",
    "required": ["id", "object", "created_at", "status", "model", "output", "error", "incomplete_details"],
    "properties": {
        "id": {"type": "string"},
        "object": {"const": "response"},
        "created_at": {"type": "integer", "description": "Unix time"},
        "status": {"enum": ["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]},
        "model": {"type": "string"},
        "output": {"type": "array", "items": ITEM},
        "error": {"type": ["object", "null"]},
        "incomplete_details": {"type": ["object", "null"]},
        "usage": {"type": "object"},
    },
}
CONVERSATION = {
    "type": "object",
    "required": ["id", "object", "created_at", "metadata"],
    "properties": {
        "id": {"type": "string"},
        "object": {"const": "conversation"},
        "created_at": {"type": "integer", "description": "Unix time"},
        "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}
STREAM = (
    "With `stream: true`: server-sent events, each with its `type` and `sequence_number`, from response.created to "
    "response.completed, response.incomplete or response.failed."
)
INCLUDE = query("include", {"type": "array", "items": {"type": "string"}}, "Shown as they were made, in any case")
RESPONSE_AT = {"$ref": REFERENCE + "Response"}
CONVERSATION_AT = {"$ref": REFERENCE + "Conversation"}


def _body(schema: type[Wire], *, required: bool = True) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": REFERENCE + PREFIX + schema.__name__}}}
    return {"requestBody": {"required": required, "content": content}}


def _streamed(description: str) -> dict[str, Any]:
    responses = answer(RESPONSE_AT, description)
    stream = {"schema": {"type": "string", "description": STREAM}}
    responses["200"]["content"]["text/event-stream"] = stream
    return responses


COUNTED = {
    "type": "object",
    "required": ["object", "input_tokens"],
    "properties": {"object": {"const": "response.input_tokens"}, "input_tokens": {"type": "integer"}},
}
PAGE = {"parameters": [limit(20, 100), ORDER, AFTER, INCLUDE]}
CREATE: dict[str, Any] = {**_body(ResponseRequest), "responses": _streamed("The response: whole, or its events")}
COUNT: dict[str, Any] = {**_body(CountRequest), "responses": answer(COUNTED, "The number of tokens")}
RETRIEVE: dict[str, Any] = {
    "parameters": [
        query("stream", {"type": "boolean"}, "The events of a response made with background and stream"),
        query("starting_after", {"type": "integer", "minimum": 0}, "The number of the event behind which they begin"),
        query("include_obfuscation", {"const": False}, "There is none"),
        INCLUDE,
    ],
    "responses": _streamed("The response, or its events"),
}
DELETE: dict[str, Any] = {"responses": answer(deletion("response.deleted"), "It is gone")}
CANCEL: dict[str, Any] = {"responses": answer(RESPONSE_AT, "The response, which is over")}
INPUT_ITEMS: dict[str, Any] = {**PAGE, "responses": answer(list_of(ITEM), "A page of the items")}

CREATE_CONVERSATION: dict[str, Any] = {
    **_body(CreateConversation, required=False),
    "responses": answer(CONVERSATION_AT, "The conversation"),
}
RETRIEVE_CONVERSATION: dict[str, Any] = {"responses": answer(CONVERSATION_AT, "The conversation")}
UPDATE_CONVERSATION: dict[str, Any] = {
    **_body(UpdateConversation),
    "responses": answer(CONVERSATION_AT, "The conversation"),
}
DELETE_CONVERSATION: dict[str, Any] = {"responses": answer(deletion("conversation.deleted"), "It is gone")}
ADD_ITEMS: dict[str, Any] = {
    **_body(AddItems),
    "parameters": [INCLUDE],
    "responses": answer(list_of(ITEM), "The items that were added"),
}
LIST_ITEMS: dict[str, Any] = {**PAGE, "responses": answer(list_of(ITEM), "A page of the items")}
RETRIEVE_ITEM: dict[str, Any] = {"parameters": [INCLUDE], "responses": answer(ITEM, "The item")}
DELETE_ITEM: dict[str, Any] = {"responses": answer(CONVERSATION_AT, "The conversation")}

PATHS = (
    "/v1/responses",
    "/v1/responses/input_tokens",
    "/v1/responses/{response_id}",
    "/v1/responses/{response_id}/cancel",
    "/v1/responses/{response_id}/input_items",
    "/v1/conversations",
    "/v1/conversations/{conversation_id}",
    "/v1/conversations/{conversation_id}/items",
    "/v1/conversations/{conversation_id}/items/{item_id}",
)
ERRORS = (400, 401, 404, 413, 415, 429, 500, 503)


def schemas() -> dict[str, Any]:
    """The JSON Schemas that the operations refer to."""
    found: dict[str, Any] = {"Response": RESPONSE, "Conversation": CONVERSATION}
    for body in (ResponseRequest, CountRequest, CreateConversation, UpdateConversation, AddItems):
        schema = body.model_json_schema(ref_template=REFERENCE + PREFIX + "{model}")
        parts = schema.pop("$defs", {})
        found |= {PREFIX + name: part for name, part in parts.items()}
        found[PREFIX + body.__name__] = schema
    return found
