"""EngineClient with a real engine process: tokens come, cancelling frees, death and stalls are seen and mended."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from engine import ConfigError, EngineClient, EngineConfig, EngineUnavailable, GenerateRequest, RequestRefused
from engine.messages import SamplingParams

pytestmark = pytest.mark.anyio


def make_config(folder: Path, **changes: object) -> EngineConfig:
    values = {"max_model_len": 2048, "max_running": 8, "kv_cache_memory": 16 * 2**20, "threads": 1}
    return EngineConfig(model_path=str(folder), **values | changes)  # type: ignore[arg-type]


def make_request(name: str, max_tokens: int = 5, prompt: int = 10, **sampling: object) -> GenerateRequest:
    params = SamplingParams(max_tokens=max_tokens, **sampling)  # type: ignore[arg-type]
    return GenerateRequest(name, list(range(prompt)), params, time.monotonic())


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
async def client(tiny_checkpoint: Path) -> AsyncIterator[EngineClient]:
    client = EngineClient(make_config(tiny_checkpoint), stall_seconds=1.0)
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

    # closing the iterator frees the request's blocks
    stream = client.generate(make_request("e", max_tokens=1900))
    await anext(stream)
    assert client.stats.blocks_held > 0
    await stream.aclose()
    await collect(client, make_request("f"))
    assert client.stats.blocks_held == 0

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
    assert await collect(client, make_request("i", prompt=100, temperature=0.0)) == first

    # death in the middle of a stream
    stream = client.generate(make_request("j", max_tokens=1900))
    await anext(stream)
    assert client.pid is not None
    os.kill(client.pid, signal.SIGKILL)
    with pytest.raises(EngineUnavailable, match="ended with status -9"):
        async for _ in stream:
            pass
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


async def test_the_engine_exits_when_its_parent_does(client: EngineClient) -> None:
    process = client._process
    assert process is not None
    assert process._process.stdin is not None
    process._process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 10) == 0
