"""What the OpenAPI document says of /v1/files."""

from typing import Any

from server.files.fields import PURPOSES
from server.openapi_parts import AFTER, ORDER, answer, deletion, limit, list_of, query

REFERENCE = "#/components/schemas/"

FILE_OBJECT: dict[str, Any] = {
    "type": "object",
    "required": ["id", "object", "bytes", "created_at", "expires_at", "filename", "purpose", "status"],
    "properties": {
        "id": {"type": "string"},
        "object": {"const": "file"},
        "bytes": {"type": "integer"},
        "created_at": {"type": "integer", "description": "Unix time"},
        "expires_at": {"type": "integer", "description": "Unix time"},
        "filename": {"type": "string"},
        "purpose": {"enum": list(PURPOSES)},
        "status": {"const": "processed"},
    },
}
FORM = {
    "type": "object",
    "required": ["file", "purpose"],
    "additionalProperties": False,
    "properties": {
        "file": {"type": "string", "format": "binary"},
        "purpose": {"const": "batch"},
        "expires_after[anchor]": {"const": "created_at"},
        "expires_after[seconds]": {"type": "integer", "minimum": 3600, "maximum": 2_592_000},
    },
}

_file = {"$ref": REFERENCE + "File"}
UPLOAD: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": FORM}}},
    "responses": answer(_file, "The file"),
}
LIST: dict[str, Any] = {
    "parameters": [AFTER, limit(10_000, 10_000), ORDER, query("purpose", {"type": "string"}, "Only with this purpose")],
    "responses": answer(list_of(_file), "A page of files, the newest first unless `order` is asc"),
}
FILE: dict[str, Any] = {"responses": answer(_file, "The file")}
CONTENT: dict[str, Any] = {
    "responses": {"200": {"description": "The bytes of the file", "content": {"application/octet-stream": {}}}}
}
DELETED: dict[str, Any] = {"responses": answer(deletion("file"), "The file is gone")}
ERRORS = (400, 401, 404, 413, 500, 503)


def schemas() -> dict[str, Any]:
    """The JSON Schemas that the operations refer to."""
    return {"File": FILE_OBJECT}
