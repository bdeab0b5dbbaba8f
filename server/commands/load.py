"""The load that `abruzzi bench` puts on a server: streamed requests, each timed as its pieces arrive.

The client shares the machine's cores with the server it measures, so it does little: an asyncio protocol and a parser
in C note each piece with its time; the JSON is read after the stream has ended.
"""

import asyncio
import json
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httptools
import httpx

from server.commands.api import chunk_error, error_text

UNFINISHED = "the stream ended without [DONE]"
END_OF_EVENT = re.compile(rb"\r?\n\r?\n")


@dataclass(slots=True)
class Outcome:
    """One request as the client saw it. Times in seconds; gaps are those between chunks that carry text."""

    started: float = 0.0
    ended: float = 0.0
    first_text: float | None = None  # after `started`
    gaps: list[float] = field(default_factory=list)
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    error: str | None = None


class _Response(asyncio.Protocol):
    """Collects one HTTP response; `done` ends when it is complete."""

    def __init__(self) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.pieces: list[tuple[float, bytes]] = []
        self.status = 0
        self._parser = httptools.HttpResponseParser(self)
        self._now = 0.0

    def data_received(self, data: bytes) -> None:
        self._now = time.perf_counter()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._finish(ConnectionError(f"not HTTP: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(exc or ConnectionError("the server closed the connection midway"))

    # called by the parser
    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self.pieces.append((self._now, body))

    def on_message_complete(self) -> None:
        self._finish(None)

    def _finish(self, error: Exception | None) -> None:
        if not self.done.done():
            if error is None:
                self.done.set_result(None)
            else:
                self.done.set_exception(error)


class LoadClient:
    """Sends requests to one endpoint of a server."""

    def __init__(self, base_url: str, api_key: str | None, endpoint: str = "chat/completions") -> None:
        url = httpx.URL(base_url)
        self._host, self._port = url.host, url.port or (443 if url.scheme == "https" else 80)
        self._tls = ssl.create_default_context() if url.scheme == "https" else None
        path = url.path.rstrip("/").removesuffix("/v1") + f"/v1/{endpoint}"
        key = f"Authorization: Bearer {api_key}\r\n" if api_key else ""
        self._head = (
            f"POST {path} HTTP/1.1\r\nHost: {url.netloc.decode()}\r\nContent-Type: application/json\r\n"
            f"Accept: text/event-stream\r\nConnection: close\r\n{key}"
        )

    async def stream(self, body: dict[str, Any]) -> Outcome:
        """One streamed request. Failures are told in the outcome, not raised; cancelling closes the connection."""
        outcome = Outcome(started=time.perf_counter())
        payload = json.dumps({**body, "stream": True, "stream_options": {"include_usage": True}}).encode()
        transport: asyncio.Transport | None = None
        try:
            transport, response = await asyncio.get_running_loop().create_connection(
                _Response, self._host, self._port, ssl=self._tls
            )
            transport.write(f"{self._head}Content-Length: {len(payload)}\r\n\r\n".encode() + payload)
            await response.done
            outcome.ended = time.perf_counter()
            _read(response, outcome)
        except OSError as error:
            outcome.ended = time.perf_counter()
            outcome.error = str(error)
        finally:
            if transport is not None:
                transport.close()
        return outcome


def _read(response: _Response, outcome: Outcome) -> None:
    """Fills in what the response says."""
    if response.status != 200:
        outcome.error = error_text(response.status, b"".join(piece for _, piece in response.pieces))
        return
    last_text: float | None = None
    finished = False
    for when, data in _events(response.pieces):
        if data == b"[DONE]":
            finished = True
            continue
        chunk = json.loads(data)
        outcome.error = outcome.error or chunk_error(chunk)
        if usage := chunk.get("usage"):
            outcome.prompt_tokens = usage["prompt_tokens"]
            outcome.completion_tokens = usage["completion_tokens"]
            outcome.cached_tokens = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        if not _has_text(chunk):
            continue
        if last_text is None:
            outcome.first_text = when - outcome.started
        else:
            outcome.gaps.append(when - last_text)
        last_text = when
    if not finished and outcome.error is None:
        outcome.error = UNFINISHED


def _has_text(chunk: dict[str, Any]) -> bool:
    """Whether the model said something; the first chunk of a chat only names the role."""
    choices = chunk.get("choices") or ()
    return any(choice.get("text") for choice in choices) or any(
        value for choice in choices for name, value in (choice.get("delta") or {}).items() if name != "role"
    )


def _events(pieces: list[tuple[float, bytes]]) -> list[tuple[float, bytes]]:
    """The data of each server-sent event, with the time at which it was complete."""
    events = []
    rest = b""
    for when, piece in pieces:
        *blocks, rest = END_OF_EVENT.split(rest + piece)
        for block in blocks:
            data = [line[5:].strip() for line in block.splitlines() if line.startswith(b"data:")]
            if data:
                events.append((when, b"\n".join(data)))
    return events


async def run_level(
    client: LoadClient,
    bodies: list[dict[str, Any]],
    concurrency: int,
    time_limit: float,
    report: Callable[[], None],
) -> tuple[list[Outcome], float]:
    """Sends `bodies` with `concurrency` of them open at all times. Returns the outcomes and the seconds it took.

    After `time_limit` seconds no further one is sent, and those still open are cut and left out. `report` is called
    after each request.
    """
    outcomes: list[Outcome] = []
    waiting = iter(bodies)

    async def worker() -> None:
        for body in waiting:  # shared: each body is taken once
            outcomes.append(await client.stream(body))
            report()

    started = time.perf_counter()
    workers = [asyncio.create_task(worker()) for _ in range(min(concurrency, len(bodies)))]
    done, late = await asyncio.wait(workers, timeout=time_limit)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    for task in done:
        task.result()
    return outcomes, time.perf_counter() - started
