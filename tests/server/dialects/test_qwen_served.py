"""The loop of call, result and answer over HTTP, in both of Qwen's forms."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from support.fake_engine import FakeEngine, outputs
from support.qwen_checkpoints import QwenCheckpoint
from support.served import Served, frames

from engine import GenerateRequest
from server.app import create_app
from server.sampling import SamplingDefaults
from server.served_model import ServedModel
from server.settings import Settings

pytestmark = pytest.mark.anyio

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ASKED: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "Weather?"}],
    "tools": [{"type": "function", "function": {"name": "get_weather", "parameters": CITY}}],
}
SAID = {
    "chat_template.jinja": '\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n',
    "coder_like.jinja": "\n<function=get_weather>\n<parameter=city>\nRome\n</parameter>\n</function>\n",
}


def served_model(qwen: QwenCheckpoint, folder: Path) -> ServedModel:
    return ServedModel(
        names=("m",),
        created=0,
        folder=folder,
        tokenizer=qwen.tokenizer,
        dialect=qwen.dialect,
        sampling=SamplingDefaults(),
        eos_ids=frozenset({qwen.end}),
    )


@pytest.mark.parametrize("template", SAID)
async def test_call_result_answer(template: str, tmp_path: Path) -> None:
    qwen = QwenCheckpoint(tmp_path, template)
    model = served_model(qwen, tmp_path)
    said = [*qwen.tokens("Let me see.\n", "<tool_call>", SAID[template], "</tool_call>"), qwen.end]
    asked: list[GenerateRequest] = []

    def script(request: GenerateRequest) -> Any:
        asked.append(request)
        return outputs(request, said)

    app = create_app(Settings(store="none"), FakeEngine(script, vocab_size=qwen.tokenizer.vocab_size), model)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://abruzzi") as http:
        answer = (await http.post("/v1/chat/completions", json=ASKED)).json()["choices"][0]
        assert answer["finish_reason"] == "tool_calls"
        assert answer["message"]["content"] == "Let me see."
        (call,) = answer["message"]["tool_calls"]
        assert call["id"].startswith("call_")
        assert call["function"] == {"name": "get_weather", "arguments": '{"city": "Rome"}'}

        stream = await http.post("/v1/chat/completions", json={**ASKED, "stream": True})
        choices = [chunk["choices"][0] for chunk in frames(stream.text)[:-1]]
        deltas = [delta for choice in choices for delta in choice["delta"].get("tool_calls") or ()]
        assert deltas[0]["function"]["name"] == "get_weather"
        assert [delta for delta in deltas if "id" in delta] == deltas[:1]
        assert "".join(delta["function"]["arguments"] for delta in deltas) == '{"city": "Rome"}'
        assert len(deltas) > 5
        assert "".join(choice["delta"].get("content") or "" for choice in choices) == "Let me see."
        assert choices[-1]["finish_reason"] == "tool_calls"

        result = {"role": "tool", "tool_call_id": call["id"], "content": "Sunny"}
        later = {**ASKED, "messages": [*ASKED["messages"], answer["message"], result]}
        assert (await http.post("/v1/chat/completions", json=later)).status_code == 200
        prompt = qwen.text(asked[-1].prompt)
        assert "<tool_response>\nSunny\n</tool_response>" in prompt
        assert SAID[template] in prompt
        assert call["id"] not in prompt
    assert len(asked) == 3
    assert all(request.grammar is not None and request.grammar.begin_with for request in asked)


@pytest.mark.parametrize(
    ("fields", "switch"), [({"thinking": {"type": "enabled"}}, False), ({"reasoning_effort": "none"}, True)], ids=str
)
async def test_fields_that_differ_about_thinking(fields: dict[str, Any], switch: bool, tmp_path: Path) -> None:
    served = Served(served_model(QwenCheckpoint(tmp_path), tmp_path))
    answer = await served.post(model="m", chat_template_kwargs={"enable_thinking": switch}, **fields)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == "chat_template_kwargs"
    assert "enable_thinking and the rest of the request differ" in error["message"]
    assert not served.engine.requests
    assert (await served.post(model="m", chat_template_kwargs={"enable_thinking": not switch}, **fields)).is_success
