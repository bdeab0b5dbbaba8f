"""A model that thinks, over chat completions: its thoughts in answers, in what is sent back, and before calls."""

import json
from typing import Any

import openai
import pytest
from support.messages import prompt_text, say, thinking_model
from support.served import MODEL, Served, chat, frames

from server.dialects.kimi_tokens import CALL_BEGIN, END_THINK, SECTION_BEGIN, THINK

pytestmark = pytest.mark.anyio

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}
CALL = ("get_weather", '{"city": "Zürich"}')
THOUGHT = "Zürich? 漢"


@pytest.fixture
def thinker(tmp_path_factory: pytest.TempPathFactory) -> Served:
    """Thinks unless it is told not to."""
    return Served(thinking_model(tmp_path_factory.mktemp("thinking") / "model"))


@pytest.mark.parametrize("at_once", [1, 3, 1000])
async def test_thoughts_come_under_both_names_and_are_counted(thinker: Served, at_once: int) -> None:
    thinker.engine.script = say(thinker, thought=THOUGHT, text="Sunny.", at_once=at_once)
    answer = (await thinker.post()).json()
    message = answer["choices"][0]["message"]
    assert (message["content"], message["reasoning"], message["reasoning_content"]) == ("Sunny.", THOUGHT, THOUGHT)
    thought_tokens = len(thinker.model.tokenizer.encode(THOUGHT)) + 1  # and the marker behind it
    assert answer["usage"]["completion_tokens_details"]["reasoning_tokens"] == thought_tokens
    *chunks, done = frames((await thinker.post(stream=True)).text)
    assert done == "[DONE]"
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert all(delta.get("reasoning") == delta.get("reasoning_content") for delta in deltas)
    assert "".join(delta.get("reasoning", "") for delta in deltas) == THOUGHT
    assert "".join(delta.get("content") or "" for delta in deltas) == "Sunny."


@pytest.mark.parametrize(
    ("fields", "thinks"),
    [
        ({}, True),
        ({"thinking": {"type": "enabled"}}, True),
        ({"thinking": {"type": "disabled"}}, False),
        ({"reasoning_effort": "none"}, False),
        ({"reasoning_effort": "medium"}, True),
        ({"chat_template_kwargs": {"thinking": True}}, True),
        ({"chat_template_kwargs": {"thinking": False}}, False),
        ({"chat_template_kwargs": {"thinking": False}, "thinking": {"type": "disabled"}}, False),
    ],
    ids=str,
)
async def test_thinking_is_switched_in_each_way(thinker: Served, fields: dict[str, Any], thinks: bool) -> None:
    assert (await thinker.post(**fields, tools=[TOOL], tool_choice="required")).status_code == 200
    assert prompt_text(thinker).endswith(THINK) is thinks
    grammar = thinker.engine.requests[-1].grammar
    assert grammar is not None
    control = thinker.model.tokenizer.control_tokens
    assert grammar.begin_after == ((control[END_THINK],) if thinks else ())
    # a call may begin within the thoughts
    assert grammar.begin_with == ((control[SECTION_BEGIN], control[CALL_BEGIN]) if thinks else ())
    assert (thinker.end in grammar.forbidden) is thinks, "no answer ends within its thoughts"


@pytest.mark.parametrize(("value", "shown"), [(1, "1"), ("yes", '"yes"'), (None, "null"), ([], "[]")])
async def test_a_switch_is_true_or_false(thinker: Served, value: Any, shown: str) -> None:
    answer = await thinker.post(chat_template_kwargs={"thinking": value})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == "chat_template_kwargs"
    assert error["message"] == f"chat_template_kwargs.thinking must be true or false, not {shown}."
    assert not thinker.engine.requests


async def test_what_only_thinks_cannot_be_told_not_to(tmp_path_factory: pytest.TempPathFactory) -> None:
    always = Served(thinking_model(tmp_path_factory.mktemp("always") / "model", always=True))
    for field, value in (("thinking", {"type": "disabled"}), ("reasoning_effort", "none")):
        answer = await always.post(**{field: value})
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == field
    assert not always.engine.requests


@pytest.mark.parametrize("names", [("reasoning",), ("reasoning_content",), ("reasoning", "reasoning_content")])
async def test_thoughts_are_taken_back_under_either_name(thinker: Served, names: tuple[str, ...]) -> None:
    call = {"id": "x", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    said = {"role": "assistant", "content": None, "tool_calls": [call], **dict.fromkeys(names, THOUGHT)}
    result = {"role": "tool", "tool_call_id": "x", "content": "Sunny"}
    assert (await thinker.post(messages=[*chat()["messages"], said, result], tools=[TOOL])).status_code == 200
    assert f"{THINK}{THOUGHT}{END_THINK}functions.get_weather:0={{}}" in prompt_text(thinker)


@pytest.mark.parametrize("within", [False, True], ids=["behind", "within"])
async def test_a_call_behind_and_within_thoughts(thinker: Served, within: bool) -> None:
    script = say(thinker, thought=THOUGHT, calls=[CALL])
    if within:
        script = _without(script, thinker.model.tokenizer.control_tokens[END_THINK])
    thinker.engine.script = script
    choice = (await thinker.post(tools=[TOOL])).json()["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["reasoning"] == THOUGHT
    assert choice["message"]["content"] is None
    (call,) = choice["message"]["tool_calls"]
    assert (call["id"], call["function"]["arguments"]) == ("functions.get_weather:0", CALL[1])


def _without(script: Any, token: int) -> Any:
    def changed(request: Any) -> Any:
        for output in script(request):
            output.token_ids = [one for one in output.token_ids if one != token]
            yield output

    return changed


async def test_the_loop_with_the_sdk_keeps_the_thoughts(thinker: Served) -> None:
    """Agents send messages back as the SDK made them, thoughts included."""
    turns = iter([say(thinker, thought=THOUGHT, calls=[CALL]), say(thinker, thought="Done.", text="Sunny.")])
    thinker.engine.script = lambda request: next(turns)(request)
    messages: list[Any] = [{"role": "user", "content": "Weather?"}]
    http = thinker.client()
    async with openai.AsyncOpenAI(base_url="http://abruzzi/v1", api_key="x", max_retries=0, http_client=http) as client:
        first = await client.chat.completions.create(model=MODEL, messages=messages, tools=[TOOL])  # type: ignore[list-item]
        (call,) = first.choices[0].message.tool_calls or ()
        assert call.type == "function"
        assert json.loads(call.function.arguments) == {"city": "Zürich"}
        messages += [first.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "Sunny"}]
        last = await client.chat.completions.create(model=MODEL, messages=messages, tools=[TOOL])  # type: ignore[list-item]
    assert last.choices[0].message.content == "Sunny."
    assert f"{THINK}{THOUGHT}{END_THINK}" in prompt_text(thinker)
