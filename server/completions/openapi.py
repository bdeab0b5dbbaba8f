"""What the OpenAPI document says of POST /v1/completions: the route reads bodies and writes answers itself."""

from typing import Any

from server.completions.schema import CompletionRequest

REFERENCE = "#/components/schemas/"

LOGPROBS = {
    "type": ["object", "null"],
    "description": "With `logprobs`: four lists with an entry for each token",
    "properties": {
        "tokens": {"type": "array", "items": {"type": "string"}},
        "token_logprobs": {"type": "array", "items": {"type": ["number", "null"]}},
        "top_logprobs": {
            "type": "array",
            "items": {"type": ["object", "null"], "additionalProperties": {"type": "number"}},
        },
        "text_offset": {"type": "array", "items": {"type": "integer"}},
    },
}
ANSWER = {
    "type": "object",
    "required": ["id", "object", "created", "model", "choices", "usage"],
    "properties": {
        "id": {"type": "string"},
        "object": {"const": "text_completion"},
        "created": {"type": "integer", "description": "Unix time"},
        "model": {"type": "string"},
        "system_fingerprint": {"type": "string"},
        "choices": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["index", "text", "logprobs", "finish_reason"],
                "properties": {
                    "index": {"type": "integer"},
                    "text": {"type": "string"},
                    "logprobs": LOGPROBS,
                    "finish_reason": {"enum": ["stop", "length"]},
                },
            },
        },
        "usage": {
            "type": "object",
            "required": ["prompt_tokens", "completion_tokens", "total_tokens"],
            "properties": {
                "prompt_tokens": {"type": "integer"},
                "completion_tokens": {"type": "integer"},
                "total_tokens": {"type": "integer"},
                "prompt_tokens_details": {"type": "object", "properties": {"cached_tokens": {"type": "integer"}}},
            },
        },
    },
}
STREAM = (
    "With `stream: true`: server-sent events. The data of each is an object as the whole answer is, with one choice "
    "and the next piece of its text; of the last, `[DONE]`. An error midway is an event of its own before it."
)

OPERATION: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": REFERENCE + "CompletionRequest"}}},
    },
    "responses": {
        "200": {
            "description": "The answer: one object, or a stream of its pieces",
            "content": {
                "application/json": {"schema": {"$ref": REFERENCE + "Completion"}},
                "text/event-stream": {"schema": {"type": "string", "description": STREAM}},
            },
        }
    },
}
ERRORS = (400, 401, 404, 413, 415, 429, 500, 503)


def schemas() -> dict[str, Any]:
    """The JSON Schemas that OPERATION refers to."""
    request = CompletionRequest.model_json_schema(ref_template=REFERENCE + "{model}")
    parts: dict[str, Any] = request.pop("$defs")
    return {**parts, "CompletionRequest": request, "Completion": ANSWER}
