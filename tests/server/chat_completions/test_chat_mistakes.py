"""How mistakes read, and that a large body full of them costs little."""

import json
import threading
from typing import Any

import pytest
from pydantic import ValidationError
from support.served import MODEL, Served, chat

import server.wire as wire
from server.bounds import MAX_ITEMS, MAX_NAMES
from server.chat_completions.schema import ChatCompletionRequest
from server.errors import InvalidRequest
from server.mistakes import explain

pytestmark = pytest.mark.anyio


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


IMAGE = {"type": "image_url", "image_url": {"url": "x"}}
TEXTS: list[tuple[dict[str, Any], str]] = [
    ({"messages": [user(None)]}, "messages[0].content must be a string or a list of parts, not null."),
    ({"temperature": True}, "temperature must be a number, not true."),
    ({"temperature": float("nan")}, "temperature must be a finite number, not NaN."),
    ({"temperature": 2.1}, "temperature must be at most 2, not 2.1."),
    ({"stream": "yes"}, 'stream must be true or false, not "yes".'),
    ({"max_tokens": 1.5}, "max_tokens must be a whole number, not 1.5."),
    ({"messages": []}, "messages must have at least 1 item."),
    ({"stop": ["a", ""]}, "stop[1] must have at least 1 character."),
    ({"stop": 5}, "stop must be a string or a list of strings, not 5."),
    ({"stop": ["a"] * 5}, "stop has 5 items; at most 4 are allowed."),
    ({"logit_bias": {"x": 1}}, 'logit_bias.x is not a token id, not "x".'),
    ({"messages": [user("a"), {"role": "robot", "content": "b"}]}, "one of system, developer, user, assistant, tool."),
    ({"messages": [user([IMAGE])]}, 'messages[0].content[0].type is "image_url"; only text is supported here.'),
    ({"verbosity": "low"}, "verbosity is not supported: say in a message how long the answer is to be."),
    ({"messages": [user("secret")] * 2049}, "There are 2049 messages; at most 2048 are allowed."),
    ({"user": {"a": "secret" * 100}}, "user must be a string, not an object."),
    ({"seed": "long" * 100}, "seed must be a whole number, not"),
]


@pytest.mark.parametrize(("fields", "text"), TEXTS, ids=lambda value: str(value)[:50])
async def test_how_mistakes_read(served: Served, fields: dict[str, Any], text: str) -> None:
    async with served.client() as client:
        answer = await client.post("/v1/chat/completions", content=json.dumps(chat(**fields)))
    assert answer.status_code == 400
    message = answer.json()["error"]["message"]
    assert text in message
    assert len(message) < 200
    for inside in ("None", "True", "Input should", "validation", "('", "but got", "secret"):
        assert inside not in message


PART = {"type": "text", "text": ""}
LARGE: dict[str, tuple[dict[str, Any], str]] = {
    "zeros": ({"messages": [user([0] * 100_000)]}, "messages[0].content"),
    "zeros in place of messages": ({"messages": [0] * 100_000}, "messages"),
    "zeros within bounds": ({"messages": [user([0] * MAX_ITEMS)]}, "messages[0].content[0]"),
    "parts of one message": ({"messages": [user([PART] * (MAX_ITEMS + 1))]}, "messages[0].content"),
    "parts of all messages": ({"messages": [user([PART] * MAX_ITEMS)] * 9}, "messages"),
    "tool calls": ({"messages": [{"role": "assistant", "tool_calls": [0] * 5000}]}, "messages[0].tool_calls"),
    "stops": ({"stop": [0] * 100_000}, "stop"),
    "token ids": ({"stop_token_ids": ["x"] * 100_000}, "stop_token_ids"),
    "biases": ({"logit_bias": {f"x{n}": 1 for n in range(MAX_NAMES + 1)}}, "logit_bias"),
    "labels": ({"metadata": {str(n): 1 for n in range(MAX_NAMES + 1)}}, "metadata"),
    "names of a message": ({"messages": [{f"x{n}": 1 for n in range(MAX_NAMES + 1)}]}, "messages[0]"),
    "names of a part": (
        {"messages": [user([{f"x{n}": 1 for n in range(MAX_NAMES + 1)}])]},
        "messages[0].content[0]",
    ),
}


@pytest.mark.parametrize(("fields", "param"), list(LARGE.values()), ids=list(LARGE))
def test_a_body_full_of_mistakes_is_judged_by_few_of_them(fields: dict[str, Any], param: str) -> None:
    """What costs is the number of errors that are collected; it must not grow with the body."""
    body = json.dumps({"model": MODEL, "messages": [user("x")], **fields})
    with pytest.raises((InvalidRequest, ValidationError)) as caught:
        ChatCompletionRequest.model_validate_json(body, context={"max_messages": 2048})
    if isinstance(caught.value, ValidationError):
        assert caught.value.error_count() <= 2
        assert param in str(explain(caught.value).param)
    else:
        assert caught.value.param == param


async def test_a_body_of_unknown_names(served: Served) -> None:
    answer = await served.post(**{f"x{n}": 0 for n in range(MAX_NAMES + 1)})
    assert answer.status_code == 400
    assert "names" in answer.json()["error"]["message"]


async def test_as_many_parts_as_are_allowed(served: Served) -> None:
    answer = await served.post(messages=[user([{"type": "text", "text": "a"}] * MAX_ITEMS)])
    assert answer.status_code == 200


async def test_template_arguments_may_have_any_shape(served: Served) -> None:
    names = {f"x{n}": [0] * 10 for n in range(2 * MAX_NAMES)}
    known = next(iter(served.model.dialect.known_arguments() - {"tools_ts_str"}), None)  # type: ignore[attr-defined]
    if known is None:
        pytest.skip("the tiny template takes no arguments")
    assert (await served.post(chat_template_kwargs={known: names})).status_code == 200


@pytest.mark.parametrize("large", [False, True])
async def test_large_bodies_are_parsed_and_rendered_in_a_thread(
    served: Served, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    """By the size of the body, wherever in it the bytes are."""
    parse, render = wire.parse, served.model.dialect.render
    threads: list[bool] = []

    def on_main() -> bool:
        return threading.current_thread() is threading.main_thread()

    def parsed(*arguments: Any) -> Any:
        threads.append(on_main())
        return parse(*arguments)

    def rendered(*arguments: Any) -> Any:
        threads.append(on_main())
        return render(*arguments)

    monkeypatch.setattr(wire, "parse", parsed)
    monkeypatch.setattr(type(served.model.dialect), "render", lambda self, conversation: rendered(conversation))
    arguments = json.dumps({"a": "x" * (300_000 if large else 10)})
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    await served.post(messages=[user("a"), {"role": "assistant", "tool_calls": [call]}])
    assert threads == [not large, not large]


async def test_template_arguments_that_are_not_known_are_told_with_those_that_are(served: Served) -> None:
    for name in ("zzz", "messages", "range"):
        answer = await served.post(chat_template_kwargs={name: 1})
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert error["param"] == "chat_template_kwargs"
        assert repr(name) in error["message"]
        assert "refused" not in error["message"]
        assert "it takes" in error["message"]


@pytest.mark.parametrize("fields", [{"top_p": 0}, {"top_p": 1}, {"repetition_penalty": 0.01}])
async def test_the_ends_of_ranges_are_allowed(served: Served, fields: dict[str, Any]) -> None:
    assert (await served.post(**fields)).status_code == 200
    [name, value] = next(iter(fields.items()))
    assert getattr(served.engine.requests[0].sampling, name) == value


async def test_literals_are_told_as_json_has_them(served: Served) -> None:
    answer = await served.post(stream=True, stream_options={"include_obfuscation": True})
    assert answer.status_code == 400
    message = answer.json()["error"]["message"]
    assert "false" in message
    assert "False" not in message


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"5", b"null"])
async def test_bodies_that_are_no_objects(served: Served, body: bytes) -> None:
    async with served.client() as client:
        answer = await client.post("/v1/chat/completions", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "The body must be a JSON object."
