"""What the OpenAPI document says of Anthropic's routes: they read bodies and write answers themselves."""

from typing import Any

from server.messages.schema import CountTokensRequest, MessagesRequest

REFERENCE = "#/components/schemas/"

MESSAGE = {
    "type": "object",
    "required": ["id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage"],
    "properties": {
        "id": {"type": "string"},
        "type": {"const": "message"},
        "role": {"const": "assistant"},
        "model": {"type": "string"},
        "content": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type"],
                "properties": {"type": {"enum": ["text", "thinking", "tool_use"]}},
            },
        },
        "stop_reason": {
            "enum": ["end_turn", "max_tokens", "stop_sequence", "tool_use", "model_context_window_exceeded"]
        },
        "stop_sequence": {"type": ["string", "null"]},
        "usage": {
            "type": "object",
            "required": ["input_tokens", "output_tokens"],
            "properties": {
                "input_tokens": {"type": "integer"},
                "cache_read_input_tokens": {"type": "integer"},
                "output_tokens": {"type": "integer"},
            },
        },
    },
}
ERROR = {
    "type": "object",
    "required": ["type", "error", "request_id"],
    "properties": {
        "type": {"const": "error"},
        "error": {
            "type": "object",
            "required": ["type", "message"],
            "properties": {"type": {"type": "string"}, "message": {"type": "string"}},
        },
        "request_id": {"type": "string"},
    },
}
COUNT = {
    "type": "object",
    "required": ["input_tokens"],
    "properties": {"input_tokens": {"type": "integer"}},
}
STREAM = (
    "With `stream: true`: server-sent events message_start, content_block_start, content_block_delta, "
    "content_block_stop, message_delta, message_stop; ping in silence; an error midway is the event error."
)
ERRORS = (400, 401, 404, 413, 415, 429, 500, 529)


def _operation(body: str, answer: str, description: str, **more: Any) -> dict[str, Any]:
    schema = {"schema": {"$ref": REFERENCE + answer}}
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": REFERENCE + body}}},
        },
        "responses": {"200": {"description": description, "content": {"application/json": schema, **more}}},
    }


MESSAGES = _operation(
    "MessagesRequest",
    "Message",
    "The answer: one message, or a stream of its pieces",
    **{"text/event-stream": {"schema": {"type": "string", "description": STREAM}}},
)
COUNT_TOKENS = _operation("CountTokensRequest", "MessageTokensCount", "How many tokens the prompt has")


def schemas() -> dict[str, Any]:
    """The JSON Schemas that the operations refer to."""
    found: dict[str, Any] = {"Message": MESSAGE, "MessageTokensCount": COUNT, "AnthropicError": ERROR}
    for request in (MessagesRequest, CountTokensRequest):
        schema = request.model_json_schema(ref_template=REFERENCE + "{model}")
        found |= schema.pop("$defs")
        found[request.__name__] = schema
    return found
