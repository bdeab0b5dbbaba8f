"""Which protocol's error object answers on which path. A protocol that has one of its own adds a row; all other paths
answer as OpenAI's API does."""

from collections.abc import Callable

from starlette.responses import Response

from server.errors import ApiError, openai_error_response

# Beginning of a path -> its errors' answer, made from the error and the request's id.
SHAPES: dict[str, Callable[[ApiError, str], Response]] = {}


def error_response(error: ApiError, path: str, request_id: str) -> Response:
    """A whole answer, in the words of the protocol that `path` belongs to."""
    for prefix, shape in SHAPES.items():
        if path.startswith(prefix):
            return shape(error, request_id)
    return openai_error_response(error)
