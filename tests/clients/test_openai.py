"""OpenAI's Python SDK over chat completions, completions and responses."""

import json
import time
from typing import Any

import pytest
from support.weather import QUESTION, RESULT, TOOL, Lake

openai = pytest.importorskip("openai", reason="make test-clients")

SPUR = "What is the Abruzzi Spur?"


@pytest.fixture(scope="module")
def client(url: str) -> Any:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def test_chat_streamed_is_the_whole(client: Any, name: str) -> None:
    fields = {"model": name, "messages": [user(SPUR)], "temperature": 0, "max_tokens": 60}
    whole = client.chat.completions.create(**fields)
    chunks = list(client.chat.completions.create(**fields, stream=True, stream_options={"include_usage": True}))
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == whole.choices[0].message.content
    assert "K2" in text
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens


@pytest.mark.parametrize("streamed", [False, True])
def test_chat_calls_result_answer(client: Any, name: str, streamed: bool) -> None:
    common = {"model": name, "temperature": 0, "max_tokens": 200, "tools": [TOOL]}

    def ask(messages: list[Any], **fields: Any) -> Any:
        if not streamed:
            return client.chat.completions.create(messages=messages, **common, **fields)
        with client.chat.completions.stream(messages=messages, **common, **fields) as stream:
            return stream.get_final_completion()

    messages: list[Any] = [user(QUESTION)]
    message = ask(messages, tool_choice="required").choices[0].message
    (call,) = message.tool_calls
    assert (call.function.name, set(json.loads(call.function.arguments))) == ("get_weather", {"city"})
    messages += [message, {"role": "tool", "tool_call_id": call.id, "content": RESULT}]
    assert ask(messages).choices[0].message.content


def test_chat_parses_a_typed_object(client: Any, name: str) -> None:
    fields = {"model": name, "messages": [user("Describe a lake.")], "temperature": 0, "max_tokens": 200}
    assert isinstance(client.chat.completions.parse(**fields, response_format=Lake).choices[0].message.parsed, Lake)


def test_completions_echo_with_likelihoods(client: Any, name: str) -> None:
    fields = {"model": name, "prompt": ["K2 is a", "The lake is"], "temperature": 0, "max_tokens": 1}
    whole = client.completions.create(**fields, echo=True, logprobs=1)
    for choice, prompt in zip(whole.choices, fields["prompt"], strict=True):
        assert choice.text.startswith(prompt)
        found = choice.logprobs
        assert len(found.tokens) == len(found.token_logprobs) == len(found.text_offset)
        assert "".join(found.tokens) == choice.text
        assert found.token_logprobs[0] is None
        assert all(value <= 0 for value in found.token_logprobs[1:])
    texts = ["", ""]
    for chunk in client.completions.create(**fields, echo=True, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    assert texts == [choice.text for choice in whole.choices]


def test_responses_streamed_is_the_whole(client: Any, name: str) -> None:
    fields = {"model": name, "input": SPUR, "temperature": 0, "max_output_tokens": 60}
    whole = client.responses.create(**fields)
    with client.responses.stream(**fields) as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert text == final.output_text == whole.output_text
    assert "K2" in text
    assert final.usage.total_tokens == whole.usage.total_tokens


def test_responses_are_continued(client: Any, name: str) -> None:
    tool = {"type": "function", **TOOL["function"]}
    common = {"model": name, "temperature": 0, "max_output_tokens": 200, "tools": [tool]}
    first = client.responses.create(**common, input=QUESTION, tool_choice="required")
    (call,) = first.output
    assert (call.name, set(json.loads(call.arguments))) == ("get_weather", {"city"})
    output = {"type": "function_call_output", "call_id": call.call_id, "output": RESULT}
    second = client.responses.create(**common, input=[output], previous_response_id=first.id)
    assert second.output_text
    assert second.usage.input_tokens > first.usage.input_tokens
    assert [item.type for item in client.responses.input_items.list(second.id)] == ["function_call_output"]
    client.responses.delete(second.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(second.id)


def test_a_response_of_the_background_can_be_followed(client: Any, name: str) -> None:
    fields = {"model": name, "input": SPUR, "temperature": 0, "max_output_tokens": 60, "background": True}
    events = list(client.responses.create(**fields, stream=True))
    half = len(events) // 2
    id = events[0].response.id
    rest = list(client.responses.retrieve(id, stream=True, starting_after=events[half].sequence_number))
    assert [event.sequence_number for event in rest] == list(range(half + 1, len(events)))
    assert client.responses.retrieve(id).output_text == rest[-1].response.output_text


def test_a_batch(client: Any, name: str) -> None:
    body = {"model": name, "messages": [user(SPUR)], "temperature": 0, "max_tokens": 60}
    lines = [
        {"custom_id": f"line-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}
        for number in range(3)
    ]
    file = client.files.create(file=("in.jsonl", "\n".join(map(json.dumps, lines)).encode()), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    for _ in range(600):
        batch = client.batches.retrieve(batch.id)
        if batch.status == "completed":
            break
        time.sleep(0.1)
    assert batch.request_counts.completed == 3
    answers = [json.loads(line) for line in client.files.content(batch.output_file_id).text.splitlines()]
    said = client.chat.completions.create(**body).choices[0].message.content
    assert [one["response"]["body"]["choices"][0]["message"]["content"] for one in answers] == [said] * 3
