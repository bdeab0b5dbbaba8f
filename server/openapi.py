"""The OpenAPI document: FastAPI's, with what the routes do themselves and without what they never do."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

import server.chat_completions.openapi as chat_completions
from server.admission import OPEN_PATHS

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
    404: "No such model",
    413: "The body is too large",
    415: "The body has a Content-Encoding",
    429: "Too much to do already; Retry-After says when to come back",
    500: "The server failed; its log has the reason under the request id",
    503: "Loading, draining or without an engine; Retry-After says when to come back",
}


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
        schemas.update(chat_completions.schemas(), Error=ERROR)
        components["securitySchemes"] = {"apiKey": {"type": "http", "scheme": "bearer"}}
        for path, operations in document["paths"].items():
            for operation in operations.values():
                self._complete(path, operation)
        return document

    def _complete(self, path: str, operation: dict[str, Any]) -> None:
        responses = operation["responses"]
        responses.pop("422", None)  # FastAPI's own; wrong values are answered 400 here
        if path.endswith("/chat/completions"):
            errors = set(chat_completions.ERRORS)
        else:
            errors = {404, 500} if "{" in path else {500, 503} if path in ("/ready", "/health") else {500}
        if path not in OPEN_PATHS and self._keys:
            operation["security"] = [{"apiKey": []}]
            errors.add(401)
        for status in sorted(errors):
            content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
            responses[str(status)] = {"description": MEANINGS[status], "content": content}
