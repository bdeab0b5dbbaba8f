"""Who comes in: API keys, and nobody new while draining. Plain ASGI: starlette's BaseHTTPMiddleware would buffer and
break streams."""

from starlette.datastructures import Headers, MutableHeaders, QueryParams, State
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.error_shapes import error_response
from server.errors import ApiError, Unauthorized, Unavailable
from server.keys.keyring import Keyring, Visitor, enter_as

OPEN_PATHS = frozenset({"/live", "/ready", "/health", "/metrics"})


class Door:
    """Lets in those who have a key, and tells them what is left of their limits. `state.draining` is set by who runs
    the app."""

    def __init__(self, app: ASGIApp, keyring: Keyring, state: State, drain_seconds: float) -> None:
        self._app = app
        self._keyring = keyring
        self._state = state
        self._retry_after = max(1, round(drain_seconds))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["state"]["owner"] = ""
        who = None
        refusal = None
        if scope["path"] not in OPEN_PATHS:
            try:
                who = self._identify(scope)
                self._check_open()
            except ApiError as error:
                refusal = error
        if refusal is not None:
            await error_response(refusal, scope["path"], scope["state"]["request_id"])(scope, receive, send)
            return
        enter_as(who)
        if who is None:
            await self._app(scope, receive, send)
            return
        scope["state"]["owner"] = who.key.owner
        await self._app(scope, receive, _with_limits(send, who))

    def _identify(self, scope: Scope) -> Visitor | None:
        """Raises Unauthorized."""
        if not self._keyring.closed:
            return None
        key = presented_key(scope)
        if key is None:
            raise Unauthorized("An API key is needed: send the header 'Authorization: Bearer <key>'.")
        who = self._keyring.find(key)
        if who is None:
            raise Unauthorized("The API key is not known here.")
        if who.key.expired():
            raise Unauthorized(f"The API key {who.key.name!r} has expired.")
        return who

    def _check_open(self) -> None:
        """Raises Unavailable."""
        if self._state.draining:
            raise Unavailable(
                "The server is shutting down and takes no new requests.",
                retry_after=self._retry_after,
                code="draining",
            )


def _with_limits(send: Send, who: Visitor) -> Send:
    """Adds what is left of the key's limits to the answer's headers."""

    async def send_with_limits(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in who.usage.headers().items():
                headers[name] = value
        await send(message)

    return send_with_limits


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
