"""What every route needs of HTTP: bodies read within a limit, answers, streams, a client that hangs up, request ids.

Knows no protocol's wire format.
"""

import asyncio
import contextlib
import logging
import re
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import msgspec
from sse_starlette import EventSourceResponse
from sse_starlette.sse import SendTimeoutError
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.admission import BodyShare
from server.error_shapes import error_response
from server.errors import (
    ApiError,
    BodyTooLarge,
    ClientGone,
    ComputationFailed,
    InternalError,
    UnsupportedBody,
    as_api_error,
)
from server.metrics import Metrics

T = TypeVar("T")
SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
LINGER_SECONDS = 5.0  # see LastWords
LINGER_BYTES = 64 * 2**20
SEND_TIMEOUT = 120.0  # seconds in which a stream's client takes nothing at all
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
log = logging.getLogger("abruzzi.http")


async def read_body(request: Request, limit: int, share: BodyShare) -> bytes:
    """The whole body, for which `share` makes room. Raises BodyTooLarge as soon as it is known to exceed `limit`
    bytes, announced or not; UnsupportedBody, QueueFull, ClientGone."""
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        text = f"The body has the content encoding {encoding[:40]!r}; send it without one."
        raise UnsupportedBody(text, headers={"Connection": "close"})  # it is not read
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise BodyTooLarge(limit)
    chunks = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise BodyTooLarge(limit)
            share.grow(len(chunk))
            chunks.append(chunk)
    except ClientDisconnect:
        raise ClientGone from None
    return b"".join(chunks)


def json_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """`content` as JSON."""
    return Response(msgspec.json.encode(content), status, headers, media_type="application/json")


async def unless_disconnected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when the client hangs up. The body must have been read.

    Raises ClientGone.
    """
    task = asyncio.ensure_future(work)
    hang_up = asyncio.ensure_future(_disconnected(request.receive))
    try:
        await asyncio.wait({task, hang_up}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone
        return task.result()
    finally:
        for one in (task, hang_up):
            one.cancel()
        await asyncio.gather(task, hang_up, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class LastWords(Response):
    """An answer to a body that is not read to its end: sent at once, then the rest is taken in and dropped for a while.

    A connection that is closed over unread bytes is reset, and the reset overtakes the answer: most clients send all
    before they read, and would see a broken connection instead of what was wrong.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                await _drop(receive, LINGER_BYTES)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _drop(receive: Receive, limit: int) -> None:
    """Takes in the rest of a body, up to `limit` bytes."""
    more = True
    while more and limit > 0:
        message = await receive()
        more = message["type"] == "http.request" and message.get("more_body", False)
        limit -= len(message.get("body", b""))


COMMENT = b": keep-alive\n\n"


class EventStream(EventSourceResponse):
    """A stream of ready-made frames, and `keep_alive` in its silence, which calls `close` however it ends.

    A generator that was never started runs no `finally`, so that closing cannot be left to `frames`.
    """

    def __init__(
        self,
        frames: AsyncGenerator[bytes, None],
        close: Callable[[], Awaitable[None]],
        keep_alive_seconds: float,
        keep_alive: bytes = COMMENT,
    ) -> None:
        super().__init__(
            frames,
            ping=keep_alive_seconds,
            ping_message_factory=lambda: keep_alive,  # type: ignore[arg-type, return-value]  # bytes are sent as they are
            sep="\n",
            send_timeout=SEND_TIMEOUT,
        )
        self._close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except SendTimeoutError:  # the server cuts the connection of an answer that was not completed
            log.info("%s read nothing for %.0f s", scope["state"]["request_id"], SEND_TIMEOUT)
        finally:
            await self._close()


class Envelope:
    """The outermost layer: gives each request an id, counts it, and turns what nobody caught into a 500.

    Plain ASGI. The id is the client's own `x-request-id` if it is sane, else drawn; every response bears it.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        inner = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request_id
            elif inner is not scope:
                message = {**message, "body": b""}  # HEAD: as GET, without the body
            await send(message)

        try:
            await self._app(inner, receive, send_with_id)
        except Exception as error:
            log.exception("request %s failed", request_id)
            if status:
                raise  # too late for another answer: the server cuts the connection
            answer = error_response(as_api_error(error, request_id), scope["path"], request_id)
            await answer(scope, receive, send_with_id)
        finally:
            self._count(scope, inner.get("route"), status)

    def _count(self, scope: Scope, route: object, status: int) -> None:
        """Unknown paths and methods share a label: clients must not be able to make new ones."""
        method = scope["method"] if scope["method"] in METHODS else "other"
        path = getattr(route, "path", "other")
        self._metrics.http.labels(method, path, str(status or 499)).inc()
        log.debug("%s %s %s %s", scope["state"]["request_id"], method, scope["path"], status)


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get("x-request-id", "")
    return given if SANE_REQUEST_ID.fullmatch(given) else "req-" + secrets.token_hex(12)


def request_id(request: Request) -> str:
    """The id that `Envelope` gave."""
    return str(request.state.request_id)


def owner(request: Request) -> str:
    """Whose request it is: stands for its API key, "" if the server has none. Only its owner sees what is stored."""
    return str(request.state.owner)


def report(error: Exception, request_id: str) -> ApiError:
    """The API's error for `error`; our own faults go to the log, where the client cannot see them."""
    known = as_api_error(error, request_id)
    if isinstance(known, InternalError | ComputationFailed):
        log.error("request %s failed", request_id, exc_info=error)
    return known
