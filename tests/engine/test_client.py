"""EngineClient with a real engine process: tokens come, cancelling frees, death and stalls are seen and mended."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from engine import (
    ConfigError,
    EngineClient,
    EngineConfig,
    EngineUnavailable,
    GenerateRequest,
    RequestCancelled,
    RequestRefused,
)
from engine.messages import SamplingParams
from engine.supervisor import EngineProcess

pytestmark = pytest.mark.anyio


def make_config(folder: Path, **changes: object) -> EngineConfig:
    values = {"max_model_len": 2048, "max_running": 8, "kv_cache_memory": 16 * 2**20, "threads": 1}
    return EngineConfig(model_path=str(folder), **values | changes)  # type: ignore[arg-type]


def make_request(name: str, max_tokens: int = 5, prompt: int = 10, **sampling: object) -> GenerateRequest:
    params = SamplingParams(max_tokens=max_tokens, **sampling)  # type: ignore[arg-type]
    return GenerateRequest(name, [token % 4000 for token in range(prompt)], params, time.monotonic())


async def collect(client: EngineClient, request: GenerateRequest) -> tuple[list[int], str | None]:
    tokens, reason = [], None
    async for output in client.generate(request):
        tokens += output.token_ids
        reason = output.finish_reason
    return tokens, reason


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    for _ in range(int(seconds / 0.05)):
        if condition():
            return
        await asyncio.sleep(0.05)
    pytest.fail("waited in vain")


@pytest.fixture
async def client(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EngineClient]:
    monkeypatch.setattr("engine.client.RESTART_DELAYS", (0.0, 0.1, 0.1, 0.1, 0.1))
    # in bfloat16 a prompt found in the prefix cache is rounded otherwise than a new one
    client = EngineClient(make_config(tiny_checkpoint, dtype="float32"), stall_seconds=1.0)
    await client.start()
    await client.wait_ready()
    yield client
    await client.stop()


async def test_the_whole_life_of_an_engine(client: EngineClient) -> None:
    """One engine process for all of it: starting one takes seconds."""
    ready = client.ready
    assert ready is not None
    assert ready.max_model_len == 2048
    assert client.status.state == "ready"

    # tokens, and the same again from the prefix cache
    first = await collect(client, make_request("a", prompt=100, temperature=0.0))
    assert len(first[0]) == 5
    assert first[1] == "length"
    outputs = [output async for output in client.generate(make_request("b", prompt=100, temperature=0.0))]
    assert [token for output in outputs for token in output.token_ids] == first[0]
    assert outputs[0].cached_tokens == 96

    # a request that cannot run is refused, the others go on
    long_one = asyncio.create_task(collect(client, make_request("c", max_tokens=200)))
    with pytest.raises(RequestRefused) as refused:
        await collect(client, make_request("d", prompt=5000))
    assert refused.value.code == "context_length_exceeded"
    assert len((await long_one)[0]) == 200

    # closing the iterator frees the request's blocks, and nothing else has to happen for it to be seen
    stream = client.generate(make_request("e", max_tokens=1900))
    await anext(stream)
    assert client.stats.blocks_held > 0
    await stream.aclose()
    await until(lambda: client.stats.blocks_held == 0 and client.stats.running == 0, 2)

    # cancelled by its id, its reader is told so
    reading = asyncio.create_task(collect(client, make_request("i", max_tokens=1900)))
    await until(lambda: client.stats.running == 1)
    for name in ("i", "unknown"):
        client.cancel(name)
    with pytest.raises(RequestCancelled):
        await reading
    await until(lambda: client.stats.blocks_held == 0 and client.stats.running == 0, 2)

    # log-probabilities of a prompt, through the process, all before the answer
    scored = [output async for output in client.generate(make_request("p", prompt=1500, prompt_logprobs=1))]
    assert sum(len(output.prompt_logprobs or ()) for output in scored) == 1499

    # signals that reach the whole process group are the server's affair
    assert client.pid is not None
    os.kill(client.pid, signal.SIGTERM)
    os.kill(client.pid, signal.SIGINT)
    assert await collect(client, make_request("f", prompt=100, temperature=0.0)) == first

    # one that reads slowly is not taken for a stuck engine
    slow = client.generate(make_request("s", max_tokens=50))
    await anext(slow)
    await asyncio.sleep(3)
    assert client.status.state == "ready"
    assert len([output async for output in slow]) == 1  # the rest, merged
    assert client.restarts == 0

    # a stuck engine is seen; a dead one is started again
    pid = client.pid
    assert pid is not None
    stuck = asyncio.create_task(collect(client, make_request("g", max_tokens=1900)))
    await until(lambda: client.stats.running == 1)
    os.kill(pid, signal.SIGSTOP)
    await until(lambda: client.status.state == "stalled", 5)
    with pytest.raises(EngineUnavailable, match="stalled"):
        await collect(client, make_request("h"))
    with pytest.raises(EngineUnavailable, match="no progress"):
        await stuck
    await until(lambda: client.status.state == "ready")
    assert client.restarts == 1

    # so is one that is stuck while nobody asks for anything
    pid = client.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    await until(lambda: client.status.state == "stalled", 5)
    await until(lambda: client.status.state == "ready")
    assert client.restarts == 2
    assert await collect(client, make_request("i", prompt=100, temperature=0.0)) == first

    # death in the middle of a stream
    stream = client.generate(make_request("j", max_tokens=1900))
    await anext(stream)
    assert client.pid is not None
    os.kill(client.pid, signal.SIGKILL)
    with pytest.raises(EngineUnavailable, match="ended with status -9"):
        async for _ in stream:
            pass
    assert client.stats.running == 0
    with pytest.raises(EngineUnavailable):
        await collect(client, make_request("k"))
    await until(lambda: client.status.state == "ready")
    assert await collect(client, make_request("l", prompt=100, temperature=0.0)) == first


async def test_an_engine_that_cannot_start_says_why(tmp_path: Path) -> None:
    client = EngineClient(make_config(tmp_path / "nothing"))
    await client.start()
    with pytest.raises(ConfigError, match=r"config\.json does not exist"):
        await client.wait_ready()
    assert client.status.state == "failed"
    with pytest.raises(EngineUnavailable):
        await collect(client, make_request("a"))
    await client.stop()


async def test_requests_around_a_death_leave_nothing_behind(client: EngineClient) -> None:
    assert client.pid is not None
    os.kill(client.pid, signal.SIGKILL)
    for index in range(200):  # from before anybody noticed until the engine is back
        with contextlib.suppress(EngineUnavailable):
            await collect(client, make_request(f"r{index}"))
        if client.restarts and client.status.state == "ready":
            break
        await asyncio.sleep(0.05)
    assert len((await collect(client, make_request("after")))[0]) == 5
    await asyncio.sleep(3)
    assert client.status.state == "ready"
    assert client.restarts == 1
    assert client._channels == {}


async def test_restarts_that_fail_are_tried_again_and_then_given_up(
    client: EngineClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("engine.client.RESTART_DELAYS", (0.0, 0.0, 0.0))
    spawn, attempts = EngineProcess.spawn, []

    async def fail(config: EngineConfig, *arguments: object) -> EngineProcess:
        attempts.append(config)
        if len(attempts) == 1:
            raise OSError("no process left")
        return await spawn(make_config(tmp_path / "gone"), *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(EngineProcess, "spawn", fail)
    assert client.pid is not None
    os.kill(client.pid, signal.SIGKILL)
    await asyncio.wait_for(client.wait_given_up(), 30)
    assert len(attempts) == 2
    assert client.status.state == "failed"
    assert "3 attempts" in client.status.detail


async def test_the_engine_imports_nothing_from_the_current_folder(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("json.py", "engine.py", "torch.py"):
        (tmp_path / name).write_text("raise SystemExit('hijacked')")
    monkeypatch.chdir(tmp_path)
    client = EngineClient(make_config(tiny_checkpoint))
    await client.start()
    await client.wait_ready()
    await client.stop()


async def test_the_engine_exits_when_its_parent_does(client: EngineClient) -> None:
    process = client._process
    assert process is not None
    assert process._process.stdin is not None
    process._process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 10) == 0
