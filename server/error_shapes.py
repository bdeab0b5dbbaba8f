"""Which protocol's error object answers on which path. A protocol that has one of its own adds a row; all other paths
answer as OpenAI's API does."""

import re
from collections.abc import Callable

from starlette.responses import Response

from server.errors import ApiError, openai_error_response
from server.gemini.errors import google_error_response
from server.messages.errors import anthropic_error_response

# What a path matches -> its errors' answer, made from the error and the request's id.
SHAPES: dict[re.Pattern[str], Callable[[ApiError, str], Response]] = {
    re.compile(r"/v1/messages.*"): anthropic_error_response,
    re.compile(r"/v1beta/.*|/v1/models/.*:\w+"): google_error_response,
}


def error_response(error: ApiError, path: str, request_id: str) -> Response:
    """A whole answer, in the words of the protocol that `path` belongs to."""
    for pattern, shape in SHAPES.items():
        if pattern.fullmatch(path):
            return shape(error, request_id)
    return openai_error_response(error)
