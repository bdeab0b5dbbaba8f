"""The whole path with nothing replaced: `abruzzi serve` as a process, an OpenAI SDK or httpx in front of it."""

import asyncio
import json
import os
import random
import signal
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from support.serving import Server, serving, until

HELLO = [{"role": "user", "content": "Hello! What can you do?"}]


@pytest.fixture
def client(server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)


def test_models_and_probes(server: Server, client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").id == "tiny"
    for path in ("/live", "/ready", "/health", "/version", "/openapi.json"):
        assert server.get(path).status_code == 200, path
    assert server.get("/version").headers["x-request-id"]


def test_stream_and_whole_answer_are_the_same(client: openai.OpenAI) -> None:
    arguments: dict[str, Any] = {"model": "tiny", "messages": HELLO, "max_tokens": 60, "temperature": 1.0, "seed": 7}
    whole = client.chat.completions.create(**arguments)
    assert whole.usage is not None
    text, usage, reasons = "", None, []
    for chunk in client.chat.completions.create(**arguments, stream=True, stream_options={"include_usage": True}):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            reasons += [choice.finish_reason] if choice.finish_reason else []
    assert text == whole.choices[0].message.content
    assert text
    assert reasons == [whole.choices[0].finish_reason]
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (
        whole.usage.prompt_tokens,
        whole.usage.completion_tokens,
    )


def test_a_repeated_prompt_is_found_in_the_prefix_cache(client: openai.OpenAI) -> None:
    messages = [{"role": "user", "content": "The same long prompt. " * 30}]
    usages = []
    for salt in ("a", "a", "b"):
        answer = client.chat.completions.create(
            model="tiny", messages=messages, max_tokens=1, extra_body={"cache_salt": salt}
        )
        assert answer.usage is not None
        assert answer.usage.prompt_tokens_details is not None
        usages.append((answer.usage.prompt_tokens, answer.usage.prompt_tokens_details.cached_tokens))
    prompt = usages[0][0]
    assert usages[0][1] == usages[2][1] == 0
    assert usages[1][1] == (prompt - 1) // 16 * 16


def test_several_answers_differ_and_repeat_with_the_seed(client: openai.OpenAI) -> None:
    def answers() -> list[str]:
        answer = client.chat.completions.create(model="tiny", messages=HELLO, max_tokens=20, n=3, seed=5)
        assert [choice.index for choice in answer.choices] == [0, 1, 2]
        return [choice.message.content or "" for choice in answer.choices]

    first = answers()
    assert len(set(first)) == 3
    assert answers() == first


def test_typed_control_tokens_stay_text(client: openai.OpenAI) -> None:
    """A forged end of turn must cost more tokens than the control token would, since it is spelled out."""

    def prompt_tokens(text: str) -> int:
        messages = [{"role": "user", "content": text}]
        answer = client.chat.completions.create(model="tiny", messages=messages, max_tokens=1)
        assert answer.usage is not None
        return answer.usage.prompt_tokens

    assert prompt_tokens("<|im_end|>") - prompt_tokens("") >= 4


async def one_stream(url: str, index: int, hang_up_after: int | None, http: httpx.AsyncClient) -> str:
    """Streams one request; returns its text, or stops reading after some chunks by closing the connection."""
    rng = random.Random(index)
    body = {
        "model": "tiny",
        "messages": [{"role": "user", "content": "word " * rng.randrange(1, 300) + str(index)}],
        "max_tokens": 400 if hang_up_after is not None else rng.randrange(5, 60),
        "ignore_eos": True,
        "temperature": rng.choice([0.0, 1.0]),
        "seed": index,
        "stream": True,
        "priority": rng.choice([0, 0, 1]),
    }
    text, chunks, done, finishes = "", 0, False, 0
    async with http.stream("POST", url + "/v1/chat/completions", json=body) as response:
        assert response.status_code == 200, await response.aread()
        async for line in response.aiter_lines():
            if not line.startswith("data: "):
                continue
            if line == "data: [DONE]":
                done = True
                continue
            chunk = json.loads(line[6:])
            assert "error" not in chunk, chunk
            for choice in chunk["choices"]:
                text += choice["delta"].get("content") or ""
                finishes += choice["finish_reason"] is not None
            chunks += 1
            if hang_up_after is not None and chunks > hang_up_after:
                return ""
    assert done
    assert finishes == 1
    return text


def test_64_mixed_streams_of_which_a_third_hangs_up(server: Server) -> None:
    held = server.metric("abruzzi_kv_blocks_held")
    assert held == 0

    async def load() -> list[str]:
        limits = httpx.Limits(max_connections=100)
        async with httpx.AsyncClient(limits=limits, timeout=120) as http:
            streams = [one_stream(server.url, i, i % 7 if i % 3 == 0 else None, http) for i in range(64)]
            return await asyncio.gather(*streams)

    async def alone(index: int) -> str:
        async with httpx.AsyncClient(timeout=60) as http:
            return await one_stream(server.url, index, None, http)

    together = asyncio.run(load())
    assert all(text for index, text in enumerate(together) if index % 3)
    until(lambda: server.metric("abruzzi_kv_blocks_held") == 0, 5)
    assert server.metric("abruzzi_requests_admitted") == 0
    # but for rounding (see tests/engine/test_core.py), an answer does not depend on its company
    assert sum(asyncio.run(alone(index)) == together[index] for index in (1, 2, 4, 5)) >= 3


def test_hanging_up_on_a_whole_answer_frees_it_too(server: Server) -> None:
    body = {"model": "tiny", "messages": HELLO, "max_tokens": 3500, "ignore_eos": True}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(server.url + "/v1/chat/completions", json=body, timeout=0.7)
    until(lambda: server.metric("abruzzi_requests_admitted") == 0, 5)
    until(lambda: server.metric("abruzzi_kv_blocks_held") == 0, 2)


LONG = {"model": "tiny", "messages": HELLO, "max_tokens": 3500, "ignore_eos": True, "stream": True}


def test_a_stuck_and_then_a_dead_engine_are_told_and_mended(server: Server) -> None:
    with httpx.stream("POST", server.url + "/v1/chat/completions", json=LONG, timeout=30) as response:
        lines = response.iter_lines()
        for _ in range(8):
            next(lines)
        os.kill(server.engine_pid(), signal.SIGSTOP)
        until(lambda: server.get("/health").status_code == 503, 20)
        assert server.get("/live").status_code == 200
        os.kill(server.engine_pid(), signal.SIGKILL)
        rest = [line for line in lines if line.startswith("data: ")]
    assert rest[-1] == "data: [DONE]"
    error = json.loads(rest[-2].removeprefix("data: "))["error"]
    assert set(error) == {"message", "type", "param", "code"}
    refused = server.post("/v1/chat/completions", {"model": "tiny", "messages": HELLO})
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) > 0
    assert server.get("/ready").status_code == 503
    until(lambda: server.get("/ready").status_code == 200)
    assert server.post("/v1/chat/completions", {"model": "tiny", "messages": HELLO}).status_code == 200
    assert server.metric("abruzzi_engine_restarts_total") == 1


def test_sigterm_lets_streams_finish_and_turns_newcomers_away(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with serving(tiny_checkpoint, tmp_path / "log", "--served-model-name", "tiny", "--max-model-len", "4096") as server:
        body = LONG | {"max_tokens": 600}
        with httpx.stream("POST", server.url + "/v1/chat/completions", json=body, timeout=60) as response:
            lines = response.iter_lines()
            for _ in range(8):
                next(lines)
            server.process.send_signal(signal.SIGTERM)
            until(lambda: server.get("/ready").status_code == 503, 5)
            refused = server.post("/v1/chat/completions", {"model": "tiny", "messages": HELLO})
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) > 0
            rest = [line for line in lines if line.startswith("data: ")]
        assert rest[-1] == "data: [DONE]"
        assert '"finish_reason":"length"' in rest[-2].replace(" ", "")
        assert server.process.wait(15) == 0
