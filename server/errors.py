"""What can go wrong on the way of a request, and what the client is told.

    ApiError
    ├── InvalidRequest     the request asks for something wrong or unsupported; names the parameter
    ├── BodyTooLarge       more bytes than this server reads
    ├── UnsupportedBody    a body in an encoding that is not read here
    ├── Unauthorized       no key, or a wrong one
    ├── UnknownModel       no such model here
    ├── ForbiddenModel     the API key may not use this model
    ├── UnknownUrl         no such page here
    ├── NotFound           nothing is stored under this id for this owner
    ├── MethodNotAllowed   the page exists, not for this method
    ├── QueueFull          too much to do already; come back later
    ├── RateLimited        the API key is over one of its limits; come back later
    ├── Unavailable        loading, draining, stalled or dead; come back later
    ├── ClientGone         the client hung up: nobody reads this answer
    ├── Cancelled          the request was cancelled by its id while it ran
    ├── ComputationFailed  a step of this request could not be computed; says nothing about the inside
    └── InternalError      our fault; says nothing about the inside

The classes know no wire format. `STATUS` is the one table to HTTP, `openai_error` the one place that builds the
body {"error": {message, type, param, code}}; a protocol with another body adds a function, not a tree.
"""

from typing import Any, NamedTuple

import msgspec
from starlette.responses import Response

from engine import EngineUnavailable, RequestCancelled, RequestRefused, StepFailed


class ApiError(Exception):
    """Base. `message` is for the client; `code` is for programs, None: the default of `STATUS`."""

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.headers = headers or {}


class InvalidRequest(ApiError):
    """The request cannot be honoured as it stands; the text names the value and what is allowed."""


class BodyTooLarge(ApiError):
    """The body exceeds the limit in bytes."""

    def __init__(self, limit: int) -> None:
        # The rest of the body is not read, so that the connection cannot be used again.
        super().__init__(f"The request body is larger than {limit} bytes.", headers={"Connection": "close"})


class UnsupportedBody(ApiError):
    """The body is encoded in a way that this server does not undo."""


class Unauthorized(ApiError):
    """The route needs an API key and the request has none that is known."""

    def __init__(self, message: str) -> None:
        super().__init__(message, headers={"WWW-Authenticate": "Bearer"})


class UnknownModel(ApiError):
    """The request names a model that is not served."""

    def __init__(self, name: str, served: tuple[str, ...]) -> None:
        known = ", ".join(repr(one) for one in served)
        super().__init__(f"The model {name[:200]!r} does not exist here. Served: {known}.", param="model")


class ForbiddenModel(ApiError):
    """The API key is not allowed to use the model."""


class UnknownUrl(ApiError):
    """No route has this path."""


class NotFound(ApiError):
    """Nothing under this id is this owner's; whether it is somebody else's is not told."""

    def __init__(self, kind: str, id: str, param: str | None = None) -> None:
        super().__init__(f"There is no {kind.replace('_', ' ')} {id[:80]!r}.", param=param)


class MethodNotAllowed(ApiError):
    """The route has other methods."""


class _TryLater(ApiError):
    """`retry_after` is in seconds."""

    def __init__(
        self, message: str, *, retry_after: int, code: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message, code=code, headers={"Retry-After": str(retry_after), **(headers or {})})


class QueueFull(_TryLater):
    """As many sequences run and wait as are allowed."""


class RateLimited(_TryLater):
    """The API key is over one of its limits."""


class Unavailable(_TryLater):
    """Nobody can answer now."""


class ClientGone(ApiError):
    """The client hung up before its answer was ready."""

    def __init__(self) -> None:
        super().__init__("The client closed the connection.")


class Cancelled(ApiError):
    """Its owner cancelled the request by its id."""

    def __init__(self) -> None:
        super().__init__("This request was cancelled by its id.")


class InternalError(ApiError):
    """Something that must not happen did; the log has it under the request id."""

    def __init__(self, request_id: str) -> None:
        super().__init__(f"The server failed on this request; its log has the reason under {request_id}.")


class ComputationFailed(ApiError):
    """The model could not be computed for this request; the log has the reason under the request id."""

    def __init__(self, request_id: str) -> None:
        super().__init__(
            f"The model could not compute this answer; the server's log has the reason under {request_id}. "
            "Other requests are not affected."
        )


class Status(NamedTuple):
    """How an error looks over HTTP."""

    http: int
    type: str
    code: str


STATUS: dict[type[ApiError], Status] = {
    InvalidRequest: Status(400, "invalid_request_error", "invalid_value"),
    Unauthorized: Status(401, "invalid_request_error", "invalid_api_key"),
    UnknownModel: Status(404, "invalid_request_error", "model_not_found"),
    ForbiddenModel: Status(403, "invalid_request_error", "model_not_allowed"),
    UnknownUrl: Status(404, "invalid_request_error", "unknown_url"),
    NotFound: Status(404, "invalid_request_error", "not_found"),
    MethodNotAllowed: Status(405, "invalid_request_error", "method_not_allowed"),
    BodyTooLarge: Status(413, "invalid_request_error", "request_too_large"),
    UnsupportedBody: Status(415, "invalid_request_error", "unsupported_encoding"),
    QueueFull: Status(429, "rate_limit_error", "queue_full"),
    RateLimited: Status(429, "rate_limit_error", "rate_limit_exceeded"),
    ClientGone: Status(499, "invalid_request_error", "client_closed_request"),
    Cancelled: Status(499, "invalid_request_error", "request_cancelled"),
    InternalError: Status(500, "server_error", "internal_error"),
    ComputationFailed: Status(500, "server_error", "engine_error"),
    Unavailable: Status(503, "server_error", "engine_unavailable"),
}


def as_api_error(error: Exception, request_id: str) -> ApiError:
    """The API's error for anything that was raised. What is not known becomes InternalError: the caller logs it."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, RequestRefused):
        return InvalidRequest(str(error), code=error.code)
    if isinstance(error, EngineUnavailable):
        return Unavailable(str(error), retry_after=error.retry_after)
    if isinstance(error, RequestCancelled):
        return Cancelled()
    if isinstance(error, StepFailed):
        return ComputationFailed(request_id)
    return InternalError(request_id)


def openai_error(error: ApiError) -> dict[str, Any]:
    """The body that OpenAI's clients read; all four members are always there."""
    status = STATUS[type(error)]
    body = {"message": error.message, "type": status.type, "param": error.param, "code": error.code or status.code}
    return {"error": body}


def openai_error_response(error: ApiError) -> Response:
    """A whole answer."""
    body = msgspec.json.encode(openai_error(error))
    return Response(body, STATUS[type(error)].http, error.headers, media_type="application/json")
