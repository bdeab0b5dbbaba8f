"""What the OpenAPI document says of Google's routes: they read bodies and write answers themselves."""

from typing import Any

from server.gemini.schema import CountTokensRequest, GenerateContentRequest
from server.openapi_parts import answer, query

REFERENCE = "#/components/schemas/"
PATHS = ("/v1beta/models/{name}", "/v1beta/models")
ERRORS = (400, 401, 404, 413, 415, 429, 500, 503)

CONTENT = {
    "type": "object",
    "required": ["role", "parts"],
    "properties": {"role": {"const": "model"}, "parts": {"type": "array", "items": {"type": "object"}}},
}
CANDIDATE = {
    "type": "object",
    "required": ["index", "content"],
    "properties": {
        "index": {"type": "integer"},
        "content": CONTENT,
        "finishReason": {"enum": ["STOP", "MAX_TOKENS"]},
        "finishMessage": {"type": "string"},
        "logprobsResult": {"type": "object"},
    },
}
RESPONSE = {
    "type": "object",
    "required": ["candidates", "modelVersion", "responseId"],
    "properties": {
        "candidates": {"type": "array", "items": CANDIDATE},
        "usageMetadata": {"type": "object"},
        "modelVersion": {"type": "string"},
        "responseId": {"type": "string"},
    },
}
COUNT = {"type": "object", "required": ["totalTokens"], "properties": {"totalTokens": {"type": "integer"}}}
ENTRY = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"type": "string"}, "inputTokenLimit": {"type": "integer"}},
}
ENTRIES = {
    "type": "object",
    "required": ["models"],
    "properties": {"models": {"type": "array", "items": ENTRY}, "nextPageToken": {"type": "string"}},
}
ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "status"],
            "properties": {
                "code": {"type": "integer"},
                "message": {"type": "string"},
                "status": {"type": "string"},
                "details": {"type": "array", "items": {"type": "object"}},
            },
        }
    },
}
NAME = "The model's name, and for POST a colon and the operation: generateContent, streamGenerateContent or countTokens"
STREAM = (
    "streamGenerateContent: with `alt=sse` server-sent events, whose data are GenerateContentResponses, else a JSON "
    "array of them. An error midway is the last of them."
)


def _reference(name: str) -> dict[str, Any]:
    return {"$ref": REFERENCE + name}


OPERATION: dict[str, Any] = {
    "description": NAME,
    "parameters": [query("alt", {"enum": ["json", "sse"]}, "sse: a stream of server-sent events")],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"anyOf": [_reference("GenerateContentRequest"), _reference("GeminiCountTokensRequest")]}
            }
        },
    },
    "responses": {
        "200": {
            "description": "The answer, whole or as a stream, or the count",
            "content": {
                "application/json": {
                    "schema": {
                        "anyOf": [
                            _reference("GenerateContentResponse"),
                            {"type": "array", "items": _reference("GenerateContentResponse")},
                            _reference("CountTokensResponse"),
                        ]
                    }
                },
                "text/event-stream": {"schema": {"type": "string", "description": STREAM}},
            },
        }
    },
}
LIST: dict[str, Any] = {
    "parameters": [
        query("pageSize", {"type": "integer", "minimum": 1, "maximum": 1000}, "How many at most"),
        query("pageToken", {"type": "string"}, "nextPageToken of the page before"),
    ],
    "responses": answer(_reference("GeminiModels"), "The models"),
}
MODEL: dict[str, Any] = {"responses": answer(_reference("GeminiModel"), "The model")}


def schemas() -> dict[str, Any]:
    """The JSON Schemas that the operations refer to. Names that other protocols have too begin with Gemini."""
    found: dict[str, Any] = {}
    for request in (GenerateContentRequest, CountTokensRequest):
        schema = request.model_json_schema(ref_template=REFERENCE + "Gemini{model}")
        found |= {f"Gemini{name}": part for name, part in schema.pop("$defs").items()}
        found[f"Gemini{request.__name__}"] = schema
    return found | {
        "GenerateContentRequest": found["GeminiGenerateContentRequest"],
        "GenerateContentResponse": RESPONSE,
        "CountTokensResponse": COUNT,
        "GeminiModel": ENTRY,
        "GeminiModels": ENTRIES,
        "GoogleError": ERROR,
    }
