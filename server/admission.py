"""Who comes in: API keys, draining, and the bounds on bodies being read and on sequences that run or wait.

`Door` is plain ASGI (starlette's BaseHTTPMiddleware would buffer and break streams). `Admission` only counts: the
engine schedules.
"""

import contextlib
import hashlib
import hmac
from collections.abc import Iterator, Sequence

from starlette.datastructures import Headers, QueryParams, State
from starlette.types import ASGIApp, Receive, Scope, Send

from server.error_shapes import error_response
from server.errors import ApiError, InvalidRequest, QueueFull, Unauthorized, Unavailable

OPEN_PATHS = frozenset({"/live", "/ready", "/health", "/metrics"})
RETRY_AFTER = 2  # seconds; clients back off further by themselves
FREE_BYTES = 64 * 1024  # of each body, not counted: small requests always get through
OWNER_LENGTH = 16  # hexadecimal digits of a key's digest that stand for its owner
LARGE_BODIES = 32  # bodies of the largest size that may be held at a time before their requests are admitted


class Admission:
    """Counts sequences from the moment their request is accepted to their end."""

    def __init__(self, max_running: int, max_queue: int) -> None:
        self.limit = max_running + max_queue
        self.sequences = 0

    def enter(self, sequences: int) -> "Slot":
        """Room for `sequences`, until the slot is left. Raises QueueFull, or InvalidRequest if there never is."""
        if sequences > self.limit:
            raise InvalidRequest(f"n is {sequences}; this server has room for {self.limit} answers.", param="n")
        if self.sequences + sequences > self.limit:
            raise QueueFull(
                f"{self.sequences} answers are running or waiting and this request asks for {sequences}; "
                f"{self.limit} are allowed. Try again later.",
                retry_after=RETRY_AFTER,
            )
        self.sequences += sequences
        return Slot(self, sequences)


class Slot:
    """A place for the sequences of one request. Leaving twice counts once."""

    def __init__(self, admission: Admission, sequences: int) -> None:
        self._admission = admission
        self._sequences = sequences

    def leave(self) -> None:
        self._admission.sequences -= self._sequences
        self._sequences = 0


class BodyRoom:
    """Bounds the bytes of bodies from their arrival to admission; without it, as many as there are connections."""

    def __init__(self, max_body_bytes: int) -> None:
        self.free = LARGE_BODIES * max_body_bytes

    @contextlib.contextmanager
    def share(self) -> Iterator["BodyShare"]:
        """One request's part of the room; given back at the end."""
        share = BodyShare(self)
        try:
            yield share
        finally:
            self.free += share.taken


class BodyShare:
    """The room that one body takes. `taken`: its bytes beyond the first FREE_BYTES."""

    def __init__(self, room: BodyRoom) -> None:
        self.taken = 0
        self._room = room
        self._size = 0

    def grow(self, size: int) -> None:
        """The body has `size` more bytes. Raises QueueFull if there is no room for them."""
        self._size += size
        more = max(0, self._size - FREE_BYTES) - self.taken
        if more > self._room.free:
            raise QueueFull(
                "Too many large requests are being read. Try again later.",
                retry_after=RETRY_AFTER,
                headers={"Connection": "close"},  # the rest of this body is not read
            )
        self._room.free -= more
        self.taken += more


class Door:
    """Lets in those who have a key, and nobody new while draining. `state.draining` is set by who runs the app."""

    def __init__(self, app: ASGIApp, keys: Sequence[str], state: State, drain_seconds: float) -> None:
        self._app = app
        self._digests = [_digest(key.encode()) for key in keys]
        self._state = state
        self._retry_after = max(1, round(drain_seconds))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await error_response(refusal, scope["path"], scope["state"]["request_id"])(scope, receive, send)

    def _refusal(self, scope: Scope) -> ApiError | None:
        scope["state"]["owner"] = ""
        if scope["path"] in OPEN_PATHS:
            return None
        if self._digests:
            key = presented_key(scope)
            if key is None:
                return Unauthorized("An API key is needed: send the header 'Authorization: Bearer <key>'.")
            digest = _digest(key)
            if not self._knows(digest):
                return Unauthorized("The API key is not known here.")
            scope["state"]["owner"] = digest.hex()[:OWNER_LENGTH]
        if self._state.draining:
            return Unavailable(
                "The server is shutting down and takes no new requests.",
                retry_after=self._retry_after,
                code="draining",
            )
        return None

    def _knows(self, digest: bytes) -> bool:
        """Compares with every key, always: neither the time nor the length tells how close a guess was."""
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        return any(matches)


def presented_key(scope: Scope) -> bytes | None:
    """The API key of a request, wherever its protocol puts it: a bearer token, Anthropic's x-api-key, Google's
    x-goog-api-key or `key` in the query. An authorization that is no bearer token is a wrong key."""
    headers = Headers(scope=scope)
    if (authorization := headers.get("authorization")) is not None:
        scheme, _, key = authorization.partition(" ")
        # Headers are latin-1; undoing that gives the bytes that were sent.
        return key.strip().encode("latin-1") if scheme.lower() == "bearer" else b""
    for name in ("x-api-key", "x-goog-api-key"):
        if (given := headers.get(name)) is not None:
            return given.strip().encode("latin-1")
    in_query = QueryParams(scope["query_string"]).get("key")
    return None if in_query is None else in_query.encode()


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
