"""What a client can get wrong: a clear answer each time, and the server lives on."""

import json
from typing import Any

import pytest
from support.served import Served, chat

pytestmark = pytest.mark.anyio


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


async def refused(served: Served, status: int, body: bytes, **headers: str) -> dict[str, Any]:
    """The error of an answer, after checking its shape and that the application still works."""
    async with served.client() as client:
        answer = await client.post("/v1/chat/completions", content=body, headers=headers)
        assert answer.status_code == status, answer.text
        error: dict[str, Any] = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["message"]
        assert len(error["message"]) < 500
        assert answer.headers["x-request-id"]
        assert not served.engine.requests
        again = await client.post("/v1/chat/completions", json=chat())
        assert again.status_code == 200
    return error


BODIES: list[tuple[str, bytes, str]] = [
    ("empty", b"", "invalid_json"),
    ("cut off", json.dumps(chat()).encode()[:-5], "invalid_json"),
    ("two objects", b"{}{}", "invalid_json"),
    ("not UTF-8", b'{"model": "\xff\xfe"}', "invalid_json"),
    ("UTF-16", json.dumps(chat()).encode("utf-16"), "invalid_json"),
    ("a lone surrogate", b'{"model": "\\ud800"}', "invalid_json"),
    ("nested arrays", b'{"model": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "invalid_json"),
    ("nested objects", b'{"chat_template_kwargs": ' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}", "invalid_json"),
    ("a number of 5,000 digits", b'{"seed": ' + b"9" * 5000 + b"}", "invalid_json"),
    ("an array", b"[]", "invalid_type"),
    ("a string", b'"hello"', "invalid_type"),
    ("null", b"null", "invalid_type"),
    ("no messages", b'{"model": "org/tiny"}', "missing_required_parameter"),
    ("no model", b'{"messages": [{"role": "user", "content": "x"}]}', "missing_required_parameter"),
]


@pytest.mark.parametrize(("body", "code"), [case[1:] for case in BODIES], ids=[case[0] for case in BODIES])
async def test_a_body_that_is_no_request(served: Served, body: bytes, code: str) -> None:
    error = await refused(served, 400, body)
    assert error["code"] == code


async def test_a_body_beyond_the_limit(served: Served) -> None:
    body = json.dumps(chat(user="x" * 10_000_000)).encode()
    error = await refused(served, 413, body)
    assert error["code"] == "request_too_large"
    assert str(served.settings.max_body_bytes) in error["message"]


FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"messages": []}, "messages"),
    ({"messages": "hello"}, "messages"),
    ({"messages": ["hello"]}, "messages[0]"),
    ({"messages": [{"content": "hello"}]}, "messages[0]"),
    ({"messages": [user("a"), {"role": "robot", "content": "b"}]}, "messages[1]"),
    ({"messages": [{"role": ["user"], "content": "b"}]}, "messages[0]"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": [user(None)]}, "messages[0].content"),
    ({"messages": [user(7)]}, "messages[0].content"),
    ({"messages": [user([])]}, "messages[0].content"),
    ({"messages": [user([{"type": "text"}])]}, "messages[0].content[0].text"),
    ({"messages": [user([{"type": "image_url", "image_url": {"url": "x"}}])]}, "messages[0].content[0].type"),
    ({"messages": [user("a") | {"tool_call_id": "x"}]}, "messages[0].tool_call_id"),
    ({"messages": [user("a") | {"name": ""}]}, "messages[0].name"),
    ({"messages": [{"role": "assistant"}]}, "messages[0]"),
    ({"messages": [{"role": "assistant", "content": None, "tool_calls": []}]}, "messages[0]"),
    ({"messages": [{"role": "assistant", "content": "a", "audio": {"id": "x"}}]}, "messages[0].audio"),
    ({"messages": [{"role": "assistant", "content": "a", "reasoning": "b", "reasoning_content": "c"}]}, "messages[0]"),
    ({"messages": [{"role": "assistant", "tool_calls": [{"id": "1"}]}]}, "messages[0].tool_calls[0].function"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
    ({"model": 5}, "model"),
    ({"max_tokens": -1}, "max_tokens"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": 1.5}, "max_tokens"),
    ({"max_tokens": "10"}, "max_tokens"),
    ({"max_tokens": 10**30}, "max_tokens"),
    ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens"),
    ({"max_completion_tokens": -1}, "max_completion_tokens"),
    ({"temperature": -0.1}, "temperature"),
    ({"temperature": 2.1}, "temperature"),
    ({"temperature": "hot"}, "temperature"),
    ({"temperature": True}, "temperature"),
    ({"top_p": -0.1}, "top_p"),
    ({"top_p": 1.01}, "top_p"),
    ({"frequency_penalty": -2.1}, "frequency_penalty"),
    ({"presence_penalty": 2.1}, "presence_penalty"),
    ({"n": 0}, "n"),
    ({"n": 17}, "n"),
    ({"n": 10**30}, "n"),
    ({"seed": 2**63}, "seed"),
    ({"seed": 1.5}, "seed"),
    ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
    ({"stop": ""}, "stop"),
    ({"stop": ["a", ""]}, "stop[1]"),
    ({"stop": "x" * 1025}, "stop"),
    ({"stop": 5}, "stop"),
    ({"logit_bias": {"999999999": 1}}, "logit_bias"),
    ({"logit_bias": {"9999999999999999999999": 1}}, "logit_bias.9999999999999999999999"),
    ({"logit_bias": {"-1": 1}}, "logit_bias.-1"),
    ({"logit_bias": {"1": 101}}, "logit_bias.1"),
    ({"logit_bias": [1]}, "logit_bias"),
    ({"logit_bias": {str(token): 1 for token in range(1025)}}, "logit_bias"),
    ({"logprobs": 5}, "logprobs"),
    ({"top_logprobs": 3}, "top_logprobs"),
    ({"top_logprobs": 3, "logprobs": False}, "top_logprobs"),
    ({"top_logprobs": 21, "logprobs": True}, "top_logprobs"),
    ({"stream": "yes"}, "stream"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"stream": True, "stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation"),
    ({"stream": True, "stream_options": {"usage": True}}, "stream_options.usage"),
    ({"top_k": -2}, "top_k"),
    ({"top_k": 2**64}, "top_k"),
    ({"min_p": 1.5}, "min_p"),
    ({"repetition_penalty": 0.009}, "repetition_penalty"),
    ({"min_tokens": -1}, "min_tokens"),
    ({"min_tokens": 6, "max_tokens": 5}, "min_tokens"),
    ({"stop_token_ids": [2**40]}, "stop_token_ids"),
    ({"stop_token_ids": [-1]}, "stop_token_ids"),
    ({"stop_token_ids": [1] * 65}, "stop_token_ids"),
    ({"chat_template_kwargs": []}, "chat_template_kwargs"),
    ({"chat_template_kwargs": {"messages": []}}, "chat_template_kwargs"),
    ({"chat_template_kwargs": {"range": 1}}, "chat_template_kwargs"),
    ({"chat_template_kwargs": {"zzz": 1}}, "chat_template_kwargs"),
    ({"cache_salt": "x" * 129}, "cache_salt"),
    ({"priority": 1001}, "priority"),
    ({"metadata": {"a": 1}}, "metadata.a"),
    ({"user": 5}, "user"),
]


@pytest.mark.parametrize(("fields", "param"), FIELDS, ids=lambda value: str(value)[:60])
async def test_a_wrong_field_is_named(served: Served, fields: dict[str, Any], param: str) -> None:
    error = await refused(served, 400, json.dumps(chat(**fields)).encode())
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert isinstance(error["code"], str)


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"1e999"])
async def test_numbers_that_are_none(served: Served, number: bytes) -> None:
    body = json.dumps(chat(temperature=111)).encode().replace(b"111", number)
    assert (await refused(served, 400, body))["param"] == "temperature"


async def test_unknown_model(served: Served) -> None:
    error = await refused(served, 404, json.dumps(chat(model="gpt-5")).encode())
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert "gpt-5" in error["message"]


async def test_more_messages_than_allowed(served: Served) -> None:
    messages = [user("x")] * (served.settings.max_messages + 1)
    error = await refused(served, 400, json.dumps(chat(messages=messages)).encode())
    assert error["param"] == "messages"
    assert "2049" in error["message"]
    assert "2048" in error["message"]


@pytest.mark.parametrize("by_cache", [False, True])
async def test_a_prompt_longer_than_the_context(served: Served, by_cache: bool) -> None:
    ready = served.engine.ready
    assert ready is not None
    served.engine.ready = type(ready)(
        **{
            **{field: getattr(ready, field) for field in ready.__struct_fields__},
            "max_model_len": 4096 if by_cache else 128,
            "kv_tokens": 128 if by_cache else 65536,
        }
    )
    error = await refused(served, 400, json.dumps(chat(messages=[user("word " * 20_000)])).encode())
    assert (error["code"], error["param"]) == ("context_length_exceeded", "messages")
    assert "128" in error["message"]


async def test_max_tokens_beyond_the_context_tells_the_numbers(served: Served) -> None:
    prompt = len(await served_prompt(served))
    error = await refused(served, 400, json.dumps(chat(max_tokens=4096)).encode())
    assert (error["code"], error["param"]) == ("context_length_exceeded", "messages")
    for number in (4096, prompt, prompt + 4096):
        assert str(number) in error["message"]


async def served_prompt(served: Served) -> list[int]:
    await served.post()
    return served.engine.requests.pop().prompt


async def test_max_tokens_up_to_the_last_of_the_context(served: Served) -> None:
    room = 4096 - len(await served_prompt(served))
    assert (await served.post(max_tokens=room)).status_code == 200
    assert (await served.post(max_tokens=room + 1)).status_code == 400
    assert (await served.post()).status_code == 200
    assert served.engine.requests[-1].sampling.max_tokens == room


async def test_what_a_template_refuses_is_the_clients_mistake(served: Served) -> None:
    class Refuses:
        calls_tools, reasoning = False, "never"

        def grammar(self, *_: object) -> None:
            return None

        def render(self, conversation: object) -> list[int]:
            from server.dialects.dialect import TemplateError

            raise TemplateError("roles must alternate")

    import dataclasses

    served = Served(dataclasses.replace(served.model, dialect=Refuses()))  # type: ignore[arg-type]
    answer = await served.post()
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "messages"
    assert "roles must alternate" in answer.json()["error"]["message"]
