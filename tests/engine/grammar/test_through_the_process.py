"""Grammars from the client's side: compiled in the engine process while it idles, refused for one request alone."""

import json
from pathlib import Path

import pytest
from support.constrained import json_lark, request

from engine import EngineClient, EngineConfig, GenerateRequest, Grammar, RequestRefused, read_tiktoken_vocabulary

BOOLEANS = json_lark({"type": "array", "items": {"type": "boolean"}, "minItems": 3, "maxItems": 3})


async def collect(client: EngineClient, one: GenerateRequest) -> list[int]:
    return [token async for output in client.generate(one) for token in output.token_ids]


@pytest.mark.anyio
async def test_an_idle_engine_wakes_for_a_compiled_grammar_and_refuses_a_bad_one(tiny_checkpoint: Path) -> None:
    config = EngineConfig(
        model_path=str(tiny_checkpoint), max_model_len=256, max_running=4, kv_cache_memory=4 * 2**20, threads=1
    )
    client = EngineClient(config)
    known = read_tiktoken_vocabulary(tiny_checkpoint).token_bytes
    await client.start()
    try:
        await client.wait_ready()
        for name in ("first", "from the cache"):
            tokens = await collect(client, request(name, [1, 2], BOOLEANS))
            assert len(json.loads(b"".join(known[token] for token in tokens))) == 3
        assert client.stats.forced_tokens > 0
        for grammar in (Grammar("start: nothing"), Grammar('start: "a"', begin_with=(10**9,))):
            with pytest.raises(RequestRefused) as refused:
                await collect(client, request("bad", [1], grammar))
            assert refused.value.code == "invalid_grammar"
        assert len(await collect(client, request("plain", [1], None, max_tokens=4))) == 4
        assert client.restarts == 0
    finally:
        await client.stop()
