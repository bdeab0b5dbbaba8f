"""Bodies, request ids, errors on every path, and clients that hang up."""

import asyncio
import itertools
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from support.fake_engine import FakeEngine
from support.served import HandCall, Served, chat

from engine import EngineUnavailable, StepFailed
from server.admission import Admission
from server.generation import Generation
from server.http import LINGER_BYTES
from server.keys.gate import Passage
from server.metrics import Metrics
from server.running import Cancellation, Running

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("headers", "read"), [({}, 1200), ({"content-length": "1001"}, 0)])
async def test_an_endless_body_is_answered_once_it_exceeds_the_limit(
    serve: Callable[..., Served], headers: dict[str, str], read: int
) -> None:
    served = serve(max_body_bytes=1000)
    given = answered_after = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def notice(message: Any) -> None:
            nonlocal answered_after
            if message["type"] == "http.response.start":
                answered_after = given
            await send(message)

        await served.app(scope, receive, notice)

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        for size in itertools.chain([300] * 5, itertools.repeat(2**20)):
            given += size
            yield b" " * size

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://abruzzi", headers=headers) as client:
        answer = await client.post("/v1/chat/completions", content=endless())
    assert answer.status_code == 413
    assert answer.headers["connection"] == "close"
    assert answered_after == read
    assert given <= 2 * LINGER_BYTES  # what is dropped afterwards has its limit, too


async def test_a_body_of_exactly_the_limit(serve: Callable[..., Served]) -> None:
    body = json.dumps(chat()).encode()
    served = serve(max_body_bytes=len(body))
    async with served.client() as client:
        assert (await client.post("/v1/chat/completions", content=body)).status_code == 200
        assert (await client.post("/v1/chat/completions", content=body + b" ")).status_code == 413


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("abc-123_x.y:z", True),
        ("x" * 128, True),
        ("x" * 129, False),
        ("", False),
        ("a b", False),
        ("a\tb", False),
        ("é", False),
        ('"><script>', False),
    ],
)
async def test_request_ids(served: Served, given: str, kept: bool) -> None:
    async with served.client() as client:
        answer = await client.get("/live", headers={"x-request-id": given.encode()})  # type: ignore[dict-item]
    assert (answer.headers["x-request-id"] == given) is kept
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "unknown_url"),
        ("GET", "/docs", 404, "unknown_url"),
        ("POST", "/v1/nothing", 404, "unknown_url"),
        ("GET", "/v1/chat/completions/", 404, "unknown_url"),
        ("GET", "/v1/" + "x" * 5000, 404, "unknown_url"),
        ("GET", "/v1/models/no/such", 404, "model_not_found"),
        ("PUT", "/v1/chat/completions", 405, "method_not_allowed"),
        ("PATCH", "/v1/files/x", 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("BREW", "/metrics", 405, "method_not_allowed"),
    ],
)
async def test_wrong_paths_and_methods(served: Served, method: str, path: str, status: int, code: str) -> None:
    async with served.client() as client:
        answer = await client.request(method, path)
        assert answer.status_code == status
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert (error["code"], error["type"]) == (code, "invalid_request_error")
        assert len(error["message"]) < 500
        assert answer.headers["x-request-id"]
        if status == 405:
            assert answer.headers["allow"]


async def test_what_is_allowed_is_told_of_all_routes(served: Served) -> None:
    async with served.client() as client:
        answer = await client.put("/v1/files/x")
    assert answer.headers["allow"] == "DELETE, GET"


@pytest.mark.parametrize("stream", [False, True])
async def test_our_own_fault_leaks_nothing_and_is_logged(
    served: Served, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    served.engine.script = lambda request: [RuntimeError("secret /path/of/ours")]
    async with served.client() as client:
        sent = chat(stream=stream)
        answer = await client.post("/v1/chat/completions", json=sent, headers={"x-request-id": "find-me"})
    assert answer.status_code == 500
    error = answer.json()["error"]
    assert (error["type"], error["code"], error["param"]) == ("server_error", "internal_error", None)
    assert "secret" not in answer.text
    assert "find-me" in error["message"]
    assert answer.headers["x-request-id"] == "find-me"
    logged = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(logged) == 1
    assert "find-me" in logged[0].getMessage()
    assert "secret" in str(logged[0].exc_info)
    served.engine.script = served.say("fine")
    assert (await served.post()).status_code == 200


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("before_first_token", [False, True])
async def test_a_client_that_hangs_up_cancels(served: Served, stream: bool, n: int, before_first_token: bool) -> None:
    never = asyncio.Event()
    say = served.say("text without end")
    begin = 0 if before_first_token else 3
    served.engine.script = lambda request: [*list(say(request))[:begin], never]
    call = HandCall(served.app, chat(stream=stream, n=n))
    if stream and not before_first_token:
        await call.until(b'"delta":{"content":')
    while len(served.engine.running) < n:
        await asyncio.sleep(0)
    call.hang_up()
    await asyncio.wait_for(call.task, 10)
    assert not served.engine.running
    assert len(served.engine.cancelled) == n
    assert b"[DONE]" not in call.body
    async with served.client() as client:
        page = (await client.get("/metrics")).text
    assert f'abruzzi_requests_finished_total{{reason="cancelled"}} {n}.0' in page
    assert "abruzzi_requests_admitted 0.0" in page


@pytest.mark.parametrize("n", [1, 2])
async def test_an_engine_that_dies_midway(served: Served, n: int) -> None:
    say = served.say("a sentence of many tokens")
    served.engine.script = lambda request: [
        *list(say(request))[:2],
        0.001 if request.id.endswith("-0") else asyncio.Event(),
        EngineUnavailable("the engine process ended"),
    ]
    answer = await served.post(stream=True, n=n)
    assert answer.status_code == 200
    *_, last, done, end = answer.text.split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    error = json.loads(last.removeprefix("data: "))["error"]
    assert error == {
        "message": "the engine process ended",
        "type": "server_error",
        "param": None,
        "code": "engine_unavailable",
    }
    whole = await served.post(n=n)
    assert whole.status_code == 503
    assert whole.json()["error"] == error
    assert int(whole.headers["retry-after"]) > 0
    assert not served.engine.running
    served.engine.script = served.say("back again")
    assert (await served.post()).status_code == 200


async def test_a_fault_of_ours_midway_leaks_nothing(served: Served) -> None:
    say = served.say("a sentence of many tokens")
    served.engine.script = lambda request: [*list(say(request))[:2], StepFailed("CUDA out of memory at 0x7f")]
    answer = await served.post(stream=True)
    assert answer.status_code == 200
    assert "0x7f" not in answer.text
    assert '"code":"engine_error"' in answer.text
    assert answer.text.endswith("data: [DONE]\n\n")


async def test_a_step_that_failed_is_500_with_a_code_of_its_own(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    served.engine.script = lambda request: [StepFailed("out of memory in /a/path")]
    for stream in (False, True):
        answer = await served.post(stream=stream)
        assert answer.status_code == 500
        error = answer.json()["error"]
        assert (error["type"], error["code"]) == ("server_error", "engine_error")
        assert "could not compute" in error["message"]
        assert "/a/path" not in answer.text
    assert "/a/path" in caplog.text


async def test_an_upload_that_breaks_off_is_no_error_of_ours(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    messages = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": [], "query_string": b""}
    await served.app(scope, receive, send)
    assert sent[0]["status"] == 499
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("path", ["/health", "/v1/models", "/v1/models/alias", "/metrics", "/openapi.json", "/nothing"])
async def test_head_is_get_without_the_body(served: Served, path: str) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "HEAD", "path": path, "headers": [], "query_string": b"", "root_path": ""}
    await served.app(scope, receive, send)
    async with served.client() as client:
        answer = await client.get(path)
    assert sent[0]["status"] == answer.status_code
    assert dict(sent[0]["headers"])[b"content-type"].decode() == answer.headers["content-type"]
    assert b"".join(message.get("body", b"") for message in sent) == b""
    page = (await served.client().get("/metrics")).text
    assert 'method="HEAD"' in page


@pytest.mark.parametrize(("encoding", "status"), [("gzip", 415), ("GZIP, br", 415), ("identity", 200), ("", 200)])
async def test_encoded_bodies_are_refused(served: Served, encoding: str, status: int) -> None:
    async with served.client(headers={"content-encoding": encoding}) as client:
        answer = await client.post("/v1/chat/completions", json=chat())
    assert answer.status_code == status
    if status == 415:
        assert answer.json()["error"]["code"] == "unsupported_encoding"


async def test_bodies_in_flight_are_bounded_and_small_ones_get_through(
    serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.admission.LARGE_BODIES", 2)
    monkeypatch.setattr("server.admission.FREE_BYTES", 200)
    served = serve(max_body_bytes=1000)
    gate = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b" " * 900
        await gate.wait()
        yield b" " * 50

    async with served.client() as client:
        uploads = [asyncio.ensure_future(client.post("/v1/chat/completions", content=slow())) for _ in range(2)]
        await asyncio.sleep(0.05)
        large = chat(user="x" * 800)
        assert len(json.dumps(large)) < 1000
        refused = await client.post("/v1/chat/completions", json=large)
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "queue_full"
        assert int(refused.headers["retry-after"]) > 0
        assert (await client.post("/v1/chat/completions", json=chat())).status_code == 200
        gate.set()
        assert [answer.status_code for answer in await asyncio.gather(*uploads)] == [400, 400]
        assert (await client.post("/v1/chat/completions", json=large)).status_code == 200


async def test_a_place_is_left_even_if_closing_fails(served: Served) -> None:
    admission = Admission(1, 0)

    async def events() -> AsyncGenerator[Any, None]:
        try:
            yield (0, None)
        finally:
            raise RuntimeError("closing failed")

    ready = served.engine.ready
    assert ready is not None
    cancellation = Cancellation(served.engine)
    places = (admission.enter(1), Passage.begin(Metrics(served.engine, admission).keys))
    generation = Generation("a", [events()], places, ready, [[1]], Running(), cancellation)
    await anext(generation)
    with pytest.raises(RuntimeError):
        await generation.aclose()
    assert admission.sequences == 0


async def test_what_fails_before_the_first_token_has_a_status(served: Served) -> None:
    served.engine.script = lambda request: [EngineUnavailable("gone")]
    assert (await served.post(stream=True)).status_code == 503


@pytest.mark.parametrize(
    ("state", "code"),
    [("loading", "model_loading"), ("stalled", "engine_unavailable"), ("restarting", "engine_unavailable")],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_without_a_ready_engine(served: Served, state: str, code: str, stream: bool) -> None:
    served.engine.status.state, served.engine.status.detail = state, "/a/path/of/ours"
    answer = await served.post(stream=stream)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == code
    assert "/a/path" not in answer.text
    assert int(answer.headers["retry-after"]) > 0
    served.engine.status.state = "ready"
    assert (await served.post()).status_code == 200


async def test_silence_is_filled_with_comments(serve: Callable[..., Served]) -> None:
    served = serve(keep_alive_seconds=0.01)
    gate = asyncio.Event()
    say = served.say("late")
    served.engine.script = lambda request: [gate, *say(request)]
    call = HandCall(served.app, chat(stream=True))
    await call.until(b": keep-alive\n\n")
    await call.until(b"assistant")
    assert call.status == 200
    gate.set()
    await call.task
    assert call.body.endswith(b"data: [DONE]\n\n")
    assert not served.engine.cancelled


async def test_an_error_after_silence_is_told_in_the_stream(serve: Callable[..., Served]) -> None:
    served = serve(keep_alive_seconds=0.01)
    gate = asyncio.Event()
    served.engine.script = lambda request: [gate, EngineUnavailable("gone")]
    call = HandCall(served.app, chat(stream=True))
    await call.until(b"assistant")
    gate.set()
    await call.task
    assert call.status == 200
    assert b'data: {"error":' in call.body
    assert call.body.endswith(b"data: [DONE]\n\n")


async def test_a_client_that_reads_nothing_is_left(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.http.SEND_TIMEOUT", 0.01)
    body = json.dumps(chat(stream=True)).encode()
    messages = asyncio.Queue[Any]()
    messages.put_nowait({"type": "http.request", "body": body})

    async def stuck(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": [], "query_string": b""}
    await asyncio.wait_for(served.app(scope, messages.get, stuck), 10)
    assert len(served.engine.cancelled) == 1


async def test_applications_share_nothing(serve: Callable[..., Served]) -> None:
    one, other = serve(), serve(api_key=("key-of-other",))
    await one.post()
    assert (await other.post()).status_code == 401
    assert not other.engine.requests
    one.app.state.draining = True
    async with other.client(headers={"Authorization": "Bearer key-of-other"}) as client:
        assert (await client.post("/v1/chat/completions", json=chat())).status_code == 200
        page: httpx.Response = await client.get("/metrics")
    assert 'status="200"} 1.0' in page.text


async def test_many_mixed_streams_of_which_a_third_hang_up(served: Served) -> None:
    script: Any = served.say("some text to be going on with")

    def slowly(request: Any) -> Any:
        for output in script(request):
            yield 0.001
            yield output

    engine: FakeEngine = served.engine
    engine.script = slowly
    calls = [HandCall(served.app, chat(stream=index % 2 == 0, n=1 + index % 3)) for index in range(48)]
    while len(engine.requests) < 48:
        await asyncio.sleep(0.001)
    for call in calls[::3]:
        call.hang_up()
    await asyncio.gather(*(call.task for call in calls))
    assert not engine.running
    kept = [call for index, call in enumerate(calls) if index % 3]
    assert all(call.status == 200 and b'"finish_reason":"stop"' in call.body for call in kept)
    async with served.client() as client:
        page = (await client.get("/metrics")).text
    assert "abruzzi_requests_admitted 0.0" in page
