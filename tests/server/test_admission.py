"""API keys, draining, and the bound on sequences."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.served import HandCall, Served, chat

from server.admission import Admission, Slot
from server.errors import QueueFull

pytestmark = pytest.mark.anyio
GUARDED = ["/v1/models", "/v1/models/org/tiny", "/version", "/openapi.json", "/nothing"]
OPEN = ["/live", "/ready", "/health", "/metrics"]


@given(st.lists(st.integers(-3, 5)))
def test_places_are_never_lost_nor_doubled(steps: list[int]) -> None:
    """Positive: that many come; negative: the oldest leave (some of them twice)."""
    admission = Admission(4, 6)
    inside: list[tuple[Slot, int]] = []
    for step in steps:
        count = sum(size for _, size in inside)
        if step > 0 and count + step > 10:
            with pytest.raises(QueueFull):
                admission.enter(step)
        elif step > 0:
            inside.append((admission.enter(step), step))
        for slot, _ in inside[: -step if step < 0 else 0]:
            slot.leave()
            slot.leave()
        inside = inside[-step:] if step < 0 else inside
        assert admission.sequences == sum(size for _, size in inside) <= admission.limit


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer first-key-"},
        {"Authorization": "Bearer first-ke"},
        {"Authorization": "Basic first-key"},
        {"Authorization": "first-key"},
        {"Authorization": "Bearer ключ"},
        {"X-Api-Key": "wrong"},
        {"X-Goog-Api-Key": "wrong"},
        {"Authorization": "Bearer wrong", "X-Api-Key": "first-key"},
    ],
    ids=str,
)
async def test_without_a_known_key(serve: Callable[..., Served], headers: dict[str, str]) -> None:
    served = serve(api_key=("first-key", "second-key"))
    sent = {name: value.encode() for name, value in headers.items()}
    async with served.client(headers=sent) as client:  # type: ignore[arg-type]
        for path in GUARDED:
            answer = await client.get(path)
            assert answer.status_code == 401
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
            assert answer.json()["error"]["code"] == "invalid_api_key"
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.headers["x-request-id"]
        assert (await client.post("/v1/chat/completions", json=chat())).status_code == 401
        for path in OPEN:
            assert (await client.get(path)).status_code == 200
    assert not served.engine.requests


@pytest.mark.parametrize(
    "header",
    [
        ("Authorization", "Bearer first-key"),
        ("Authorization", "bearer second-key"),
        ("Authorization", "Bearer  ключ"),
        ("X-Api-Key", "first-key"),
        ("X-Goog-Api-Key", "ключ"),
    ],
    ids=str,
)
async def test_with_a_known_key(serve: Callable[..., Served], header: tuple[str, str]) -> None:
    served = serve(api_key=("first-key", "second-key", "ключ"))
    async with served.client(headers={header[0]: header[1].encode()}) as client:  # type: ignore[dict-item]
        assert (await client.post("/v1/chat/completions", json=chat())).status_code == 200
        assert (await client.get("/nothing")).status_code == 404


async def test_a_key_in_the_query(serve: Callable[..., Served]) -> None:
    async with serve(api_key=("first-key",)).client() as client:
        assert (await client.get("/v1/models?key=first-key")).status_code == 200
        assert (await client.get("/v1/models?key=second-key")).status_code == 401


async def test_draining_refuses_newcomers_and_lets_streams_finish(served: Served) -> None:
    gate = asyncio.Event()
    say = served.say("done")
    served.engine.script = lambda request: [*list(say(request))[:1], gate, *list(say(request))[1:]]
    call = HandCall(served.app, chat(stream=True))
    await call.until(b'"delta":{"content":')
    served.app.state.draining = True
    answer = await served.post()
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "draining"
    assert int(answer.headers["retry-after"]) > 0
    gate.set()
    await call.task
    assert call.body.endswith(b"data: [DONE]\n\n")
    assert b'"finish_reason":"stop"' in call.body


@pytest.mark.parametrize("stream", [False, True])
async def test_a_full_queue(serve: Callable[..., Served], stream: bool) -> None:
    served = serve(max_running=1, max_queue=2)
    gate = asyncio.Event()
    say = served.say("done")
    served.engine.script = lambda request: [gate, *say(request)]
    calls = [HandCall(served.app, chat(stream=stream)) for _ in range(2)]
    while len(served.engine.running) < 2:
        await asyncio.sleep(0)
    assert (await served.post(n=2)).status_code == 429
    calls.append(HandCall(served.app, chat(stream=stream)))
    while len(served.engine.running) < 3:
        await asyncio.sleep(0)
    full = await served.post()
    assert full.status_code == 429
    assert full.json()["error"]["type"] == "rate_limit_error"
    assert set(full.json()["error"]) == {"message", "type", "param", "code"}
    assert int(full.headers["retry-after"]) > 0
    gate.set()
    await asyncio.gather(*(call.task for call in calls))
    assert all(call.status == 200 for call in calls)
    assert (await served.post(n=3)).status_code == 200


async def test_what_never_fits_is_not_told_to_come_back(serve: Callable[..., Served]) -> None:
    answer = await serve(max_running=1, max_queue=1).post(n=3)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "n")


@pytest.mark.parametrize("wrong", [{"max_tokens": 10**6}, {"logit_bias": {"9999": 1}}, {"min_tokens": 10**6}])
async def test_refused_requests_give_their_place_back(serve: Callable[..., Served], wrong: dict[str, Any]) -> None:
    served = serve(max_running=1, max_queue=0)
    for _ in range(3):
        assert (await served.post(**wrong)).status_code == 400
    assert (await served.post()).status_code == 200
