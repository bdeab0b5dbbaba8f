"""What the OpenAPI document says of /v1/batches."""

from typing import Any

from server.batches.batch import TIMES
from server.batches.schema import CreateBatch
from server.openapi_parts import AFTER, ORDER, answer, limit, list_of

REFERENCE = "#/components/schemas/"
MAYBE_TEXT = {"type": ["string", "null"]}
STATUSES = (
    "validating",
    "failed",
    "in_progress",
    "finalizing",
    "completed",
    "expired",
    "cancelling",
    "cancelled",
)

BATCH: dict[str, Any] = {
    "type": "object",
    "required": ["id", "object", "endpoint", "input_file_id", "completion_window", "status", "created_at"],
    "properties": {
        "id": {"type": "string"},
        "object": {"const": "batch"},
        "endpoint": {"type": "string"},
        "model": {"type": "string"},
        "errors": {"type": ["object", "null"], "description": "Why a failed batch failed"},
        "input_file_id": {"type": "string"},
        "completion_window": {"const": "24h"},
        "status": {"enum": list(STATUSES)},
        "output_file_id": {**MAYBE_TEXT, "description": "Answers with a status below 300, one a line"},
        "error_file_id": {**MAYBE_TEXT, "description": "All other lines"},
        "created_at": {"type": "integer", "description": "This and the others: Unix time"},
        **{name: {"type": ["integer", "null"]} for name in TIMES},
        "request_counts": {
            "type": "object",
            "required": ["total", "completed", "failed"],
            "properties": {name: {"type": "integer"} for name in ("total", "completed", "failed")},
        },
        "metadata": {"type": ["object", "null"], "additionalProperties": {"type": "string"}},
        "usage": {"type": "object", "description": "The sum of the answers' usage, when the batch is over"},
    },
}

_batch = {"$ref": REFERENCE + "Batch"}
CREATE: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": {"$ref": REFERENCE + "CreateBatch"}}}},
    "responses": answer(_batch, "The batch, which begins at once"),
}
LIST: dict[str, Any] = {
    "parameters": [AFTER, limit(20, 100), ORDER],
    "responses": answer(list_of(_batch), "A page of batches, the newest first unless `order` is asc"),
}
RETRIEVE: dict[str, Any] = {"responses": answer(_batch, "The batch as it is now")}
CANCEL: dict[str, Any] = {"responses": answer(_batch, "The batch, which ends soon")}
ERRORS = (400, 401, 404, 413, 415, 429, 500, 503)


def schemas() -> dict[str, Any]:
    """The JSON Schemas that the operations refer to."""
    request = CreateBatch.model_json_schema(ref_template=REFERENCE + "{model}")
    parts: dict[str, Any] = request.pop("$defs")
    return {**parts, "CreateBatch": request, "Batch": BATCH}
