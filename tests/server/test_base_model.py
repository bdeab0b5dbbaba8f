"""A base checkpoint has no chat template: text is completed, and every protocol of messages says why it is refused."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from support.served import TINY, Served

from server.served_model import ServedModel

pytestmark = pytest.mark.anyio

SAID = [{"role": "user", "content": "Hello"}]
ASKED: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", {"model": "base", "messages": SAID}),
    ("/v1/chat/completions", {"model": "base", "messages": SAID, "stream": True}),
    ("/v1/messages", {"model": "base", "messages": SAID, "max_tokens": 5}),
    ("/v1/responses", {"model": "base", "input": "Hello"}),
    ("/v1beta/models/base:generateContent", {"contents": [{"parts": [{"text": "Hello"}]}]}),
]


@pytest.fixture(params=["kimi_k2", "deepseek_v3"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Served:
    """Served from a folder as Kimi-K2-Base's, with a fake engine."""
    for name in ("tiktoken.model", "tokenizer_config.json"):
        shutil.copy(TINY / name, tmp_path)
    (tmp_path / "config.json").write_text(f'{{"model_type": "{request.param}", "eos_token_id": 513}}')
    return Served(ServedModel.load(tmp_path, ("base",)))


async def test_text_is_completed(base: Served) -> None:
    async with base.client() as client:
        answer = await client.post("/v1/completions", json={"model": "base", "prompt": "Once upon"})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(("path", "body"), ASKED)
async def test_messages_are_refused_and_it_is_said_why(path: str, body: dict[str, Any], base: Served) -> None:
    async with base.client() as client:
        answer = await client.post(path, json=body)
    assert answer.status_code == 400
    assert "this is a base model without a chat template" in answer.json()["error"]["message"]
