"""Keys with limits, as clients meet them."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.served import HandCall, Served, chat

from server.admission import Admission
from server.errors import InvalidRequest, QueueFull
from server.keys.key_file import create_key, revoke_key

Serve = Callable[..., Served]


async def post(served: Served, key: str, **fields: Any) -> httpx.Response:
    async with served.client(headers={"Authorization": f"Bearer {key}"}) as client:
        return await client.post("/v1/chat/completions", json=chat(**fields))


@pytest.mark.anyio
async def test_requests_a_minute(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    key, free = create_key(file, "alice", requests_per_minute=2), create_key(file, "bob")
    served = serve(key_file=file, api_key=("plain",))
    first, second, third = [await post(served, key) for _ in range(3)]
    assert (first.status_code, second.status_code, third.status_code) == (200, 200, 429)
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert second.headers["x-ratelimit-remaining-requests"] == "0"
    assert third.json()["error"]["code"] == "rate_limit_exceeded"
    assert "'alice'" in third.json()["error"]["message"]
    assert 25 <= int(third.headers["retry-after"]) <= 30
    for other in (free, "plain"):
        answer = await post(served, other)
        assert answer.status_code == 200
        assert "x-ratelimit-limit-requests" not in answer.headers
    assert (await post(served, "sk-unknown")).status_code == 401


@pytest.mark.anyio
async def test_tokens_a_minute_count_prompt_and_answer(serve: Serve, tmp_path: Path) -> None:
    key = create_key(tmp_path / "keys.json", "alice", tokens_per_minute=50)
    served = serve(key_file=tmp_path / "keys.json")
    first = await post(served, key)
    assert first.status_code == 200
    assert first.json()["usage"]["total_tokens"] > 50
    refused = await post(served, key)
    assert refused.status_code == 429
    assert "50 tokens a minute" in refused.json()["error"]["message"]
    async with served.client() as client:
        metrics = (await client.get("/metrics")).text
    usage = first.json()["usage"]
    assert f'abruzzi_key_tokens_total{{key="alice",kind="prompt"}} {usage["prompt_tokens"]:.1f}' in metrics
    assert 'abruzzi_key_tokens_total{key="alice",kind="completion"}' in metrics
    assert 'abruzzi_key_refusals_total{key="alice"} 1.0' in metrics


@pytest.mark.anyio
async def test_requests_at_a_time_end_with_their_streams(serve: Serve, tmp_path: Path) -> None:
    key = create_key(tmp_path / "keys.json", "alice", concurrent_requests=1)
    served = serve(key_file=tmp_path / "keys.json")
    gate = asyncio.Event()
    say = served.say("done")
    served.engine.script = lambda request: [gate, *say(request)]
    headers = [(b"authorization", f"Bearer {key}".encode())]
    running = HandCall(served.app, chat(stream=True), headers=headers)
    while not served.engine.requests:
        await asyncio.sleep(0.01)
    refused = await post(served, key)
    assert refused.status_code == 429
    assert "1 are allowed at a time" in refused.json()["error"]["message"]
    running.hang_up()
    await asyncio.wait({running.task}, timeout=5)
    gate.set()
    assert (await post(served, key)).status_code == 200


@pytest.mark.anyio
async def test_limits_that_change_while_a_request_runs(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    key = create_key(file, "alice", concurrent_requests=2)
    served = serve(key_file=file)
    served.engine.script = lambda request: [asyncio.Event()]
    headers = [(b"authorization", f"Bearer {key}".encode())]
    running = HandCall(served.app, chat(stream=True), headers=headers)
    while not served.engine.requests:
        await asyncio.sleep(0.01)
    file.write_text(file.read_text().replace('"concurrent_requests": 2', '"concurrent_requests": 1'))
    served.app.state.keyring.reload()
    assert (await post(served, key)).status_code == 429
    running.hang_up()
    await asyncio.wait({running.task}, timeout=5)
    served.engine.script = served.say("done")
    assert (await post(served, key)).status_code == 200


@pytest.mark.anyio
async def test_models_priority_and_expiry(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    narrow = create_key(file, "narrow", models=["alias"], priority=7)
    old = create_key(file, "old", expires="2020-01-01")
    served = serve(key_file=file)
    assert (await post(served, narrow, model="alias")).status_code == 200
    assert served.engine.requests[0].priority == 7
    forbidden = await post(served, narrow)
    assert forbidden.status_code == 403
    assert forbidden.json()["error"]["code"] == "model_not_allowed"
    assert forbidden.json()["error"]["param"] == "model"
    async with served.client(headers={"Authorization": f"Bearer {narrow}"}) as client:
        listed = (await client.get("/v1/models")).json()["data"]
        assert [model["id"] for model in listed] == ["alias"]
        assert (await client.get("/v1/models/alias")).status_code == 200
        assert (await client.get("/v1/models/tiny-kimi")).status_code == 404
    expired = await post(served, old)
    assert expired.status_code == 401
    assert "has expired" in expired.json()["error"]["message"]


@pytest.mark.anyio
async def test_the_file_is_read_again(serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "keys.toml"
    key = create_key(file, "alice", requests_per_minute=1)
    served = serve(key_file=file)
    keyring = served.app.state.keyring
    assert (await post(served, key)).status_code == 200
    later = create_key(file, "bob")
    assert (await post(served, later)).status_code == 401
    keyring.reload()
    assert (await post(served, later)).status_code == 200
    assert (await post(served, key)).status_code == 429  # what it has used is not forgotten
    file.write_text("keys = 5")
    keyring.reload()
    assert "the keys stay as they were" in caplog.text
    assert (await post(served, later)).status_code == 200
    file.unlink()
    create_key(file, "bob")
    revoke_key(file, "bob")
    keyring.reload()
    assert (await post(served, later)).status_code == 401
    assert (await post(served, "")).status_code == 401  # no keys at all let nobody in


@pytest.mark.anyio
async def test_an_admin_cancels_what_others_cannot(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    alice, bob, root = create_key(file, "alice"), create_key(file, "bob"), create_key(file, "root", admin=True)
    served = serve(key_file=file)
    served.engine.script = lambda request: [asyncio.Event()]
    headers = [(b"authorization", f"Bearer {alice}".encode()), (b"x-request-id", b"mine")]
    running = HandCall(served.app, chat(stream=True), headers=headers)
    while not served.engine.requests:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    async with served.client() as client:
        for key, status in ((bob, 404), (root, 200)):
            answer = await client.post("/v1/requests/mine/cancel", headers={"Authorization": f"Bearer {key}"})
            assert answer.status_code == status, key
    running.hang_up()
    await asyncio.wait({running.task}, timeout=5)


def test_one_key_cannot_fill_the_queue_nor_make_others_wait_behind_it() -> None:
    admission = Admission(max_running=4, max_queue=28)
    greedy = [admission.enter(1, "greedy") for _ in range(24)]
    with pytest.raises(QueueFull):  # a quarter is kept for others
        admission.enter(1, "greedy")
    assert [slot.lateness for slot in greedy[:6]] == [0, 0, 0, 0, 0, 0.25]
    modest = [admission.enter(1, "modest") for _ in range(8)]
    assert modest[0].lateness == 0
    with pytest.raises(QueueFull):
        admission.enter(1, "modest")
    for slot in greedy:
        slot.leave()
    assert len([admission.enter(1, "modest") for _ in range(16)]) == 16


def test_more_answers_than_one_key_may_ever_have_are_refused_for_good() -> None:
    admission = Admission(max_running=4, max_queue=28)
    with pytest.raises(InvalidRequest, match="room for 24 answers"):
        admission.enter(25, "a")
    admission.enter(24, "a").leave()
    admission.enter(32).leave()


def test_without_keys_all_share_the_whole_room() -> None:
    admission = Admission(max_running=1, max_queue=3)
    slots = [admission.enter(1) for _ in range(4)]
    with pytest.raises(QueueFull):
        admission.enter(1)
    for slot in slots:
        slot.leave()
        slot.leave()
    assert admission.sequences == 0
