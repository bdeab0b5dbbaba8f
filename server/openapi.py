"""The OpenAPI document: FastAPI's, with what the routes do themselves and without what they never do."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

import server.batches.openapi as batches
import server.chat_completions.openapi as chat_completions
import server.chat_completions.stored_openapi as stored_chat_completions
import server.completions.openapi as completions
import server.files.openapi as files
import server.gemini.openapi as gemini
import server.messages.openapi as messages
import server.operations.tokens as tokens
import server.responses.openapi as responses
from server.door import OPEN_PATHS

ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
            },
        }
    },
}
MEANINGS = {
    400: "The request is wrong; `param` names the field",
    401: "No API key, or one that is not known",
    404: "No such model, or nothing stored under this id",
    413: "The body is too large",
    415: "The body has a Content-Encoding",
    429: "Too much to do already; Retry-After says when to come back",
    500: "The server failed; its log has the reason under the request id",
    503: "Loading, draining or without an engine; Retry-After says when to come back",
    529: "Loading, draining or without an engine; Retry-After says when to come back",
}
# Path -> the statuses that its errors have.
ERRORS: dict[str, tuple[int, ...]] = {
    "/v1/chat/completions": chat_completions.ERRORS,
    "/v1/chat/completions/input_tokens": tokens.ERRORS,
    "/tokenize": tokens.ERRORS,
    "/detokenize": tokens.ERRORS,
    "/v1/completions": completions.ERRORS,
    "/v1/messages": messages.ERRORS,
    "/v1/messages/count_tokens": messages.ERRORS,
    "/v1/chat/completions/{completion_id}": stored_chat_completions.ERRORS,
    "/v1/chat/completions/{completion_id}/messages": stored_chat_completions.ERRORS,
    "/v1/files": files.ERRORS,
    "/v1/files/{file_id}": files.ERRORS,
    "/v1/files/{file_id}/content": files.ERRORS,
    **dict.fromkeys(responses.PATHS, responses.ERRORS),
    **dict.fromkeys(gemini.PATHS, gemini.ERRORS),
    "/v1/batches": batches.ERRORS,
    "/v1/batches/{batch_id}": batches.ERRORS,
    "/v1/batches/{batch_id}/cancel": batches.ERRORS,
}
# Whose `schemas()` the operations refer to.
SOURCES = (chat_completions, completions, messages, tokens, files, batches, responses, gemini)
# Beginning of a path -> the schema of its errors, if it is not `Error`.
ERROR_SCHEMAS = {"/v1/messages": "AnthropicError", "/v1beta/": "GoogleError"}


class OpenApi:
    """Makes the document when it is first asked for. `keys`: whether clients need an API key."""

    def __init__(self, app: FastAPI, *, keys: bool) -> None:
        self._app = app
        self._keys = keys
        self._document: dict[str, Any] | None = None

    def __call__(self) -> dict[str, Any]:
        if self._document is None:
            self._document = self._make()
        return self._document

    def _make(self) -> dict[str, Any]:
        document = get_openapi(title=self._app.title, version=self._app.version, routes=self._app.routes)
        components = document.setdefault("components", {})
        schemas = components.setdefault("schemas", {})
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        for source in SOURCES:
            schemas.update(source.schemas())
        schemas["Error"] = ERROR
        components["securitySchemes"] = {"apiKey": {"type": "http", "scheme": "bearer"}}
        for path, operations in document["paths"].items():
            for operation in operations.values():
                self._complete(path, operation)
        return document

    def _complete(self, path: str, operation: dict[str, Any]) -> None:
        responses = operation["responses"]
        responses.pop("422", None)  # FastAPI's own; wrong values are answered 400 here
        errors = set(ERRORS.get(path, ()))
        if not errors:
            errors = {404, 500} if "{" in path else {500, 503} if path in ("/ready", "/health") else {500}
        if path not in OPEN_PATHS and self._keys:
            operation["security"] = [{"apiKey": []}]
            errors.add(401)
        schema = next((name for prefix, name in ERROR_SCHEMAS.items() if path.startswith(prefix)), "Error")
        for status in sorted(errors):
            content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
            responses[str(status)] = {"description": MEANINGS[status], "content": content}
