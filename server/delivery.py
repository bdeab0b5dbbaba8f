"""How an answer leaves: whole or as a stream, and cancelled when the client hangs up or asks for it by an id. Knows
no wire format."""

from collections.abc import AsyncGenerator, Coroutine
from typing import Any

from starlette.requests import Request

from server.generation import Generation
from server.http import COMMENT, EventStream, owner, request_id, unless_disconnected


async def whole(request: Request, generation: Generation, answer: Coroutine[Any, Any, bytes]) -> bytes:
    """The body that `answer` makes of the generation's events. Raises what fails, or ClientGone."""
    generation.cancellable(owner(request), request_id(request))
    try:
        return await unless_disconnected(request, answer)
    finally:
        await generation.aclose()


async def stream(
    request: Request,
    generation: Generation,
    frames: AsyncGenerator[bytes, None],
    keep_alive_seconds: float,
    keep_alive: bytes = COMMENT,
) -> EventStream:
    """Begins with the first event, or with silence worth a keep-alive: what fails before is raised, so that it gets an
    HTTP status of its own. `frames` is made of the generation's events."""
    generation.cancellable(owner(request), request_id(request))
    try:
        await unless_disconnected(request, generation.wait_for_first(keep_alive_seconds))
    except BaseException:
        await generation.aclose()
        raise
    return EventStream(frames, generation.aclose, keep_alive_seconds, keep_alive)
