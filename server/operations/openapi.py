"""What the OpenAPI document says of the operations that take bodies."""

from typing import Any

REFERENCE = "#/components/schemas/"
ERRORS = (400, 401, 404, 413, 415, 429, 500, 503)
COUNT = {"type": "integer", "minimum": 0}
TOKENS = {"type": "array", "items": {"type": "integer"}}


def _operation(body: str, description: str, properties: dict[str, Any]) -> dict[str, Any]:
    answer = {"type": "object", "required": list(properties), "properties": properties}
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": REFERENCE + body}}},
        },
        "responses": {"200": {"description": description, "content": {"application/json": {"schema": answer}}}},
    }


TOKENIZE = _operation(
    "TokenizeRequest",
    "The tokens",
    {
        "count": COUNT,
        "max_model_len": COUNT,
        "tokens": TOKENS,
        "token_strs": {"type": ["array", "null"], "items": {"type": "string"}},
    },
)
DETOKENIZE = _operation("DetokenizeRequest", "The text", {"prompt": {"type": "string"}})
INPUT_TOKENS = _operation(
    "ChatCompletionRequest",
    "How many tokens the prompt has",
    {"object": {"const": "response.input_tokens"}, "input_tokens": COUNT},
)
