"""What the OpenAPI document says of POST /v1/chat/completions: the route reads bodies and writes answers itself."""

from typing import Any

from server.chat_completions.schema import ChatCompletionRequest

REFERENCE = "#/components/schemas/"

USAGE = {
    "type": "object",
    "required": ["prompt_tokens", "completion_tokens", "total_tokens"],
    "properties": {
        "prompt_tokens": {"type": "integer"},
        "completion_tokens": {"type": "integer"},
        "total_tokens": {"type": "integer"},
        "prompt_tokens_details": {"type": "object", "properties": {"cached_tokens": {"type": "integer"}}},
    },
}
CHOICE = {
    "type": "object",
    "required": ["index", "message", "finish_reason"],
    "properties": {
        "index": {"type": "integer"},
        "message": {
            "type": "object",
            "required": ["role", "content"],
            "properties": {
                "role": {"const": "assistant"},
                "content": {"type": ["string", "null"]},
                "refusal": {"type": "null"},
            },
        },
        "logprobs": {"type": ["object", "null"], "description": "With `logprobs: true`: `content`, one for each token"},
        "finish_reason": {"type": "string"},
    },
}
ANSWER = {
    "type": "object",
    "required": ["id", "object", "created", "model", "choices", "usage"],
    "properties": {
        "id": {"type": "string"},
        "object": {"const": "chat.completion"},
        "created": {"type": "integer", "description": "Unix time"},
        "model": {"type": "string"},
        "system_fingerprint": {"type": "string"},
        "choices": {"type": "array", "items": CHOICE},
        "usage": USAGE,
    },
}
STREAM = (
    "With `stream: true`: server-sent events. The data of each is a chat.completion.chunk, which has a `delta` where "
    "the whole answer has a `message`; of the last, `[DONE]`. An error midway is an event of its own before it."
)

OPERATION: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": REFERENCE + "ChatCompletionRequest"}}},
    },
    "responses": {
        "200": {
            "description": "The answer: one object, or a stream of its pieces",
            "content": {
                "application/json": {"schema": {"$ref": REFERENCE + "ChatCompletion"}},
                "text/event-stream": {"schema": {"type": "string", "description": STREAM}},
            },
        }
    },
}
ERRORS = (400, 401, 404, 413, 415, 429, 500, 503)


def schemas() -> dict[str, Any]:
    """The JSON Schemas that OPERATION refers to."""
    request = ChatCompletionRequest.model_json_schema(ref_template=REFERENCE + "{model}")
    parts: dict[str, Any] = request.pop("$defs")
    return {**parts, "ChatCompletionRequest": request, "ChatCompletion": ANSWER}
