"""Errors as Google's clients read them: {"error": {"code", "message", "status", "details"}}."""

from typing import Any

import msgspec
from starlette.responses import Response

from server.errors import STATUS, ApiError

# HTTP status -> Google's word for it; what is not here is an invalid argument, or from 500 on an internal error.
WORDS = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    503: "UNAVAILABLE",
}


def google_error(error: ApiError) -> dict[str, Any]:
    """The body of an answer, and the last object of a stream."""
    status = STATUS[type(error)].http
    word = WORDS.get(status, "INVALID_ARGUMENT" if status < 500 else "INTERNAL")
    body: dict[str, Any] = {"code": status, "message": error.message, "status": word}
    if error.param is not None:
        violation = {"field": error.param, "description": error.message}
        body["details"] = [{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]}]
    return {"error": body}


def google_error_response(error: ApiError, request_id: str) -> Response:
    """A whole answer."""
    body = msgspec.json.encode(google_error(error))
    return Response(body, STATUS[type(error)].http, error.headers, media_type="application/json")
