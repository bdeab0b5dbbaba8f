"""The loop of call, result and answer over HTTP, for families whose ids and ends are not Kimi's."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from support.dialect_checkpoints import DATA, apertus, deepseek
from support.fake_engine import FakeEngine, outputs
from support.served import frames

from engine import GenerateRequest
from server.app import create_app
from server.served_model import ServedModel
from server.settings import Settings
from server.text.tokenizer import Tokenizer

pytestmark = pytest.mark.anyio

TOOL = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ASKED: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "Weather?"}],
    "tools": [{"type": "function", "function": {"name": "get_weather", "parameters": TOOL}}],
}
# What the model says, markers spelled out; the last one ends the answer.
SAID = {
    "deepseek": (
        "Let me see.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>"
        '{"city": "Rome"}<｜tool▁call▁end｜><｜tool▁calls▁end｜><｜end▁of▁sentence｜>'
    ),
    "apertus": 'Let me see.<|tools_prefix|>[{"get_weather": {"city": "Rome"}}]<|tools_suffix|>',
}
RESULT = {"deepseek": "<｜tool▁output▁begin｜>Sunny<｜tool▁output▁end｜>", "apertus": "<|tools_suffix|>[Sunny]"}


def token_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids of `text`, in which names of control tokens are meant."""
    ids: list[int] = []
    while text:
        found = [(text.index(name), name) for name in tokenizer.control_tokens if name in text]
        start, name = min(found, default=(len(text), ""))
        ids += tokenizer.encode(text[:start])
        ids += [tokenizer.control_tokens[name]] if name else []
        text = text[start + len(name) :]
    return ids


@pytest.fixture(params=SAID)
def family(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


async def test_call_result_answer(family: str, tmp_path: Path) -> None:
    if family == "deepseek":
        tokenizer, _ = deepseek(tmp_path, (DATA / "deepseek" / "chat_template.v3.1.jinja").read_text("utf-8"))
    else:
        tokenizer, _ = apertus(tmp_path, (DATA / "apertus" / "chat_template.jinja").read_text("utf-8"))
    model = ServedModel.load(tmp_path, ("m",))
    asked: list[GenerateRequest] = []

    def script(request: GenerateRequest) -> Any:
        asked.append(request)
        return outputs(request, token_ids(tokenizer, SAID[family]))

    app = create_app(Settings(), FakeEngine(script, vocab_size=tokenizer.vocab_size), model)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://abruzzi") as http:
        answer = (await http.post("/v1/chat/completions", json=ASKED)).json()["choices"][0]
        assert answer["finish_reason"] == "tool_calls"
        assert answer["message"]["content"] == "Let me see."
        (call,) = answer["message"]["tool_calls"]
        assert call["id"].startswith("call_")
        assert call["function"] == {"name": "get_weather", "arguments": '{"city": "Rome"}'}

        stream = await http.post("/v1/chat/completions", json={**ASKED, "stream": True})
        choices = [chunk["choices"][0] for chunk in frames(stream.text)[:-1]]
        calls = [call for choice in choices for call in choice["delta"].get("tool_calls") or ()]
        assert calls[0]["function"]["name"] == "get_weather"
        assert "".join(call["function"]["arguments"] for call in calls) == '{"city": "Rome"}'
        assert len(calls) > 3
        assert "".join(choice["delta"].get("content") or "" for choice in choices) == "Let me see."
        assert choices[-1]["finish_reason"] == "tool_calls"

        result = {"role": "tool", "tool_call_id": call["id"], "content": "Sunny"}
        later = {**ASKED, "messages": [*ASKED["messages"], answer["message"], result]}
        assert (await http.post("/v1/chat/completions", json=later)).status_code == 200
        prompt = b"".join(map(tokenizer.token_bytes, asked[-1].prompt)).decode()
        assert RESULT[family] in prompt
        assert call["id"] not in prompt
    assert len(asked) == 3
    assert all(request.grammar is not None and request.grammar.begin_with for request in asked)
