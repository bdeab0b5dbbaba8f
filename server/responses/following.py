"""The events of a background's response, from the store, while they come."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from server.errors import STATUS, ApiError, NotFound
from server.responses.answer import TERMINAL, frame
from server.responses.past import EVENTS, RESPONSE
from server.responses.running import Runner
from server.store.store import Store

PAGE = 256  # events read at a time
LOOK_SECONDS = 1.0  # between two looks for what another process writes


async def follow(runner: Runner, store: Store, id: str, owner: str, after: int) -> AsyncGenerator[bytes, None]:
    """The frames of all events behind the number `after`, up to the last that the response will have. The client may
    leave and come back; that changes nothing about the response."""
    try:
        async with contextlib.aclosing(_frames(runner, store, id, owner, after)) as frames:
            async for one in frames:
                yield one
    except ApiError as error:
        yield _error(error, id, after)


async def _frames(runner: Runner, store: Store, id: str, owner: str, after: int) -> AsyncGenerator[bytes, None]:
    over = False
    while True:
        news = runner.news(id)  # taken before reading: what is written after that is not missed
        page = await store.items(RESPONSE, id, owner, EVENTS, after_position=after, limit=PAGE)
        for placed in page.data:
            after = placed.position
            yield frame(placed.body, after)
            if placed.body["type"] in TERMINAL:
                return
        if page.data:
            continue
        if over:
            return
        over = not (await store.get(RESPONSE, id, owner)).active
        if not over:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await (news or asyncio.Event()).wait()


def _error(error: ApiError, id: str, after: int) -> bytes:
    """What cannot be told as a status any more."""
    message = f"The response {id!r} was deleted." if isinstance(error, NotFound) else error.message
    code = error.code or STATUS[type(error)].code
    return frame({"type": "error", "code": code, "message": message, "param": None}, after + 1)
