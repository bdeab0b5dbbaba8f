"""Errors as Anthropic's clients read them: {"type": "error", "error": {"type", "message"}, "request_id"}."""

from typing import Any

import msgspec
from starlette.responses import Response

from server.errors import STATUS, ApiError, Unavailable

OVERLOADED = 529  # Anthropic's own, where others say 503
TOO_LONG = "prompt is too long"  # what coding agents look for, to shorten the conversation

# HTTP status -> the error's type; what is not here is an invalid request, or from 500 on the server's fault.
TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    OVERLOADED: "overloaded_error",
}

# Field that is refused -> the code by which clients know to go on without it.
CODES = {"thread": "thread_unsupported_request"}


def anthropic_error(error: ApiError, request_id: str) -> dict[str, Any]:
    """The body of an answer, and the data of a stream's error event."""
    status = _status(error)
    kind = TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    message = f"{TOO_LONG}: {error.message}" if error.code == "context_length_exceeded" else error.message
    body: dict[str, Any] = {"type": kind, "message": message}
    if (code := CODES.get(error.param or "")) is not None:
        body["details"] = {"error_code": code}
    return {"type": "error", "error": body, "request_id": request_id}


def anthropic_error_response(error: ApiError, request_id: str) -> Response:
    """A whole answer."""
    body = msgspec.json.encode(anthropic_error(error, request_id))
    headers = {**error.headers, "request-id": request_id}
    return Response(body, _status(error), headers, media_type="application/json")


def _status(error: ApiError) -> int:
    return OVERLOADED if isinstance(error, Unavailable) else STATUS[type(error)].http
