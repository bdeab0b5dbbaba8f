"""LiteLLM, which speaks to this server as to OpenAI's, Anthropic's and a text completion server."""

import json
from typing import Any

import pytest
from support.weather import QUESTION, RESULT, TOOL, Lake

litellm = pytest.importorskip("litellm", reason="make test-clients")


@pytest.fixture
def complete(url: str, name: str) -> Any:
    def call(messages: list[Any], **fields: Any) -> Any:
        return litellm.completion(
            model=f"openai/{name}",
            api_base=f"{url}/v1",
            api_key="none",
            messages=messages,
            temperature=0,
            max_tokens=200,
            **fields,
        )

    return call


USAGE = {"include_usage": True}


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


@pytest.mark.parametrize("streamed", [False, True])
def test_call_result_answer(complete: Any, streamed: bool) -> None:
    messages: list[Any] = [user(QUESTION)]

    def ask(**fields: Any) -> Any:
        if not streamed:
            return complete(messages, **fields)
        return litellm.stream_chunk_builder(
            list(complete(messages, stream=True, stream_options=USAGE, **fields)), messages=messages
        )

    first = ask(tools=[TOOL], tool_choice="required").choices[0]
    assert first.finish_reason == "tool_calls"
    call = first.message.tool_calls[0]
    assert call.function.name == "get_weather"
    assert set(json.loads(call.function.arguments)) == {"city"}
    messages += [first.message.model_dump(), {"role": "tool", "tool_call_id": call.id, "content": RESULT}]
    answer = ask(tools=[TOOL])
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage.completion_tokens > 0


def test_the_stream_is_the_whole(complete: Any) -> None:
    messages = [user("What is the Abruzzi Spur?")]
    whole = complete(messages)
    chunks = list(complete(messages, stream=True, stream_options=USAGE))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens


def test_structured_output(complete: Any) -> None:
    answer = complete([user("Describe a lake.")], response_format=Lake)
    Lake.model_validate_json(answer.choices[0].message.content)


def test_anthropic_messages(url: str, name: str) -> None:
    answer = litellm.completion(
        model=f"anthropic/{name}",
        api_base=url,
        api_key="none",
        messages=[user(QUESTION)],
        max_tokens=200,
        temperature=0,
        tools=[TOOL],
        tool_choice="required",
    )
    call = answer.choices[0].message.tool_calls[0]
    assert (call.function.name, set(json.loads(call.function.arguments))) == ("get_weather", {"city"})


def test_text_completion(url: str, name: str) -> None:
    answer = litellm.text_completion(
        model=f"text-completion-openai/{name}",
        api_base=f"{url}/v1",
        api_key="none",
        prompt="The lake is",
        max_tokens=5,
        temperature=0,
    )
    assert answer.choices[0].text
    assert answer.usage.completion_tokens == 5


def test_responses(url: str, name: str) -> None:
    answer = litellm.responses(
        model=f"openai/{name}", api_base=f"{url}/v1", api_key="none", input="Hello", max_output_tokens=40
    )
    assert answer.output[-1].content[0].text
    assert answer.usage.output_tokens > 0
