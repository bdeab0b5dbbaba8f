"""Requests to an application in its own process: what a line of a batch asks for is answered as over HTTP."""

import asyncio
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.routing import Match, Router
from starlette.types import ASGIApp, Message, Scope


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    request_id: str
    body: bytes
    retry_after: float | None = None  # seconds


def has_route(router: Router, path: str) -> bool:
    """Whether something is there to be asked with POST."""
    scope = _scope(path, b"", "")
    return any(route.matches(scope)[0] is Match.FULL for route in router.routes)


async def post(app: ASGIApp, path: str, body: bytes, owner: str, request_id: str) -> Answer:
    """Posts JSON for `owner`, who needs no key here. Cancelling this ends the request as a client does who hangs up."""
    received = False
    answered = asyncio.Event()
    status, headers, pieces = 500, Headers(), []

    async def receive() -> Message:
        nonlocal received
        if received:
            await answered.wait()
            return {"type": "http.disconnect"}
        received = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status, headers = message["status"], Headers(raw=message["headers"])
        else:
            pieces.append(message.get("body", b""))
            if not message.get("more_body", False):
                answered.set()

    await app(_scope(path, request_id.encode(), owner), receive, send)
    later = headers.get("retry-after", "")
    retry_after = float(later) if later.isdecimal() else None
    return Answer(status, headers.get("x-request-id", request_id), b"".join(pieces), retry_after)


def _scope(path: str, request_id: bytes, owner: str) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"content-type", b"application/json"), (b"x-request-id", request_id)],
        "client": None,
        "server": None,
        "state": {"owner": owner},
    }
