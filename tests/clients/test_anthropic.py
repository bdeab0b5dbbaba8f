"""Anthropic's Python SDK over /v1/messages."""

from typing import Any

import pytest
from support.weather import FUNCTION, QUESTION, RESULT, Lake

anthropic = pytest.importorskip("anthropic", reason="make test-clients")

TOOL = {
    "name": FUNCTION["name"],
    "description": FUNCTION["description"],
    "input_schema": FUNCTION["parameters"],
}
BUDGET = {"type": "enabled", "budget_tokens": 1024}
# The SDK has no parameter for it any more; the API still has.
GREEDY: dict[str, Any] = {"extra_body": {"temperature": 0}}


@pytest.fixture(scope="module")
def client(url: str) -> Any:
    with anthropic.Anthropic(base_url=url, api_key="none", max_retries=0) as client:
        yield client


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def test_a_stream_is_the_whole(client: Any) -> None:
    fields = {"model": "claude-sonnet-5", "messages": [user("What is the Abruzzi Spur?")], "max_tokens": 60, **GREEDY}
    whole = client.messages.create(**fields)
    with client.messages.stream(**fields) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == final.content[0].text == whole.content[0].text
    assert "K2" in text
    assert (final.stop_reason, final.usage.output_tokens) == (whole.stop_reason, whole.usage.output_tokens)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("thinking", [False, True])
def test_call_result_answer(client: Any, name: str, streamed: bool, thinking: bool) -> None:
    common = {"model": name, "max_tokens": 2000, "tools": [TOOL], **GREEDY} | ({"thinking": BUDGET} if thinking else {})

    def ask(messages: list[Any], **fields: Any) -> Any:
        if not streamed:
            return client.messages.create(messages=messages, **common, **fields)
        with client.messages.stream(messages=messages, **common, **fields) as stream:
            return stream.get_final_message()

    messages = [user(QUESTION)]
    first = ask(messages, tool_choice={"type": "any", "disable_parallel_tool_use": True})
    assert first.stop_reason == "tool_use"
    assert [block.type for block in first.content if block.type != "text"] == ["thinking"] * thinking + ["tool_use"]
    call = first.content[-1]
    assert (call.name, set(call.input)) == ("get_weather", {"city"})
    result = {"type": "tool_result", "tool_use_id": call.id, "content": RESULT}
    messages += [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    counted = client.messages.count_tokens(
        model=name, messages=messages, tools=[TOOL], **({"thinking": BUDGET} if thinking else {})
    )
    answer = ask(messages)
    assert any(block.type == "text" and block.text for block in answer.content)
    assert counted.input_tokens == answer.usage.input_tokens + answer.usage.cache_read_input_tokens


def test_a_typed_object(client: Any, name: str) -> None:
    answer = client.messages.parse(
        model=name, max_tokens=200, messages=[user("Describe a lake.")], output_format=Lake, **GREEDY
    )
    assert isinstance(answer.parsed_output, Lake)


def test_errors_are_anthropics(client: Any) -> None:
    with pytest.raises(anthropic.NotFoundError) as error:
        client.messages.create(model="no-such-model", max_tokens=9, messages=[user("Hello")])
    assert error.value.body["error"]["type"] == "not_found_error"
