"""What the model sees of a generateContent request, held against the chat completion that says the same."""

from typing import Any

import pytest
from support.gemini import TIME, TOOLS, WEATHER, ask
from support.messages import prompt_text, say
from support.served import Served

pytestmark = pytest.mark.anyio
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTIONS = [
    {
        "type": "function",
        "function": {"name": "get_weather", "description": WEATHER["description"], "parameters": PARAMETERS},
    },
    {"type": "function", "function": {"name": "get-time", "parameters": TIME["parametersJsonSchema"]}},
]


def turn(role: str | None, *parts: Any) -> dict[str, Any]:
    texts = [{"text": part} if isinstance(part, str) else part for part in parts]
    return {"parts": texts} if role is None else {"role": role, "parts": texts}


def call(city: str, **more: Any) -> dict[str, Any]:
    return {"functionCall": {"name": "get_weather", "args": {"city": city}, **more}}


def response(value: str, **more: Any) -> dict[str, Any]:
    return {"functionResponse": {"name": "get_weather", "response": {"result": value}, **more}}


def chat_call(id: str, city: str) -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": "get_weather", "arguments": f'{{"city": "{city}"}}'}}


def returned(id: str, value: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": f'{{"result": "{value}"}}'}


USER, CHAT_USER = turn("user", "Hello"), {"role": "user", "content": "Hello"}
CALLED = {"role": "assistant", "content": "I look.", "tool_calls": [chat_call("a", "Zürich"), chat_call("b", "Bern")]}
SAME: list[tuple[str, dict[str, Any], list[dict[str, Any]]]] = [
    ("a text", {"contents": [USER]}, [CHAT_USER]),
    ("without a role", {"contents": [turn(None, "Hello")]}, [CHAT_USER]),
    ("parts", {"contents": [turn("user", "a", "b")]}, [{"role": "user", "content": "a\n\nb"}]),
    (
        "an instruction",
        {"contents": [USER], "system_instruction": turn("system", "Be", "brief.")},
        [{"role": "system", "content": "Be\n\nbrief."}, CHAT_USER],
    ),
    (
        "one object for a list",
        {"contents": {"parts": {"text": "Hello"}}, "systemInstruction": {"parts": {"text": "Be brief."}}},
        [{"role": "system", "content": "Be brief."}, CHAT_USER],
    ),
    (
        "a signature alone",
        {"contents": [USER, turn("model", "a", {"thoughtSignature": "AAAA-_"}), USER]},
        [CHAT_USER, {"role": "assistant", "content": "a"}, CHAT_USER],
    ),
    (
        "pieces of an answer in turns of their own",
        {"contents": [USER, turn("model", "a"), turn("model", "b"), turn("model", ""), USER]},
        [CHAT_USER, {"role": "assistant", "content": "ab"}, CHAT_USER],
    ),
    (
        "responses by their names",
        {
            "contents": [
                USER,
                turn("model", "I look.", call("Zürich"), call("Bern")),
                turn("user", response("12"), response("13")),
            ]
        },
        [CHAT_USER, CALLED, returned("a", "12"), returned("b", "13")],
    ),
    (
        "responses by their ids",
        {
            "contents": [
                USER,
                turn("model", "I look.", call("Zürich", id="a"), call("Bern", id="b")),
                turn("function", response("13", id="b"), response("12", id="a")),
                turn("user", "And?"),
            ]
        },
        [CHAT_USER, CALLED, returned("b", "13"), returned("a", "12"), {"role": "user", "content": "And?"}],
    ),
]


@pytest.mark.parametrize(("fields", "messages"), [case[1:] for case in SAME], ids=[case[0] for case in SAME])
async def test_the_model_sees_what_it_sees_of_a_chat(
    served: Served, fields: dict[str, Any], messages: list[dict[str, Any]]
) -> None:
    answer = await ask(served, tools=TOOLS, **fields)
    assert answer.status_code == 200, answer.text
    assert (await served.post(messages=messages, tools=FUNCTIONS)).status_code == 200
    mine, chats = served.engine.requests
    assert mine.prompt == chats.prompt
    assert mine.grammar == chats.grammar


@pytest.mark.parametrize(
    ("calling", "choice"),
    [
        ({}, "auto"),
        ({"mode": "AUTO"}, "auto"),
        ({"mode": "VALIDATED"}, "auto"),
        ({"mode": "NONE"}, "none"),
        ({"mode": "ANY"}, "required"),
        ({"mode": "any"}, "required"),
        (
            {"mode": "ANY", "allowedFunctionNames": ["get-time"]},
            {"type": "function", "function": {"name": "get-time"}},
        ),
        (
            {"mode": "VALIDATED", "allowedFunctionNames": ["get-time"]},
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [FUNCTIONS[1]]}},
        ),
    ],
    ids=str,
)
async def test_modes(served: Served, calling: dict[str, Any], choice: Any) -> None:
    assert (await ask(served, tools=TOOLS, toolConfig={"functionCallingConfig": calling})).status_code == 200
    if isinstance(choice, dict) and "allowed_tools" in choice:
        choice["allowed_tools"]["tools"] = [{"type": "function", "function": {"name": "get-time"}}]
    assert (await served.post(tools=FUNCTIONS, tool_choice=choice)).status_code == 200
    mine, chats = served.engine.requests
    assert mine.grammar == chats.grammar


SCHEMA = {"type": "object", "properties": {"b": {"type": "boolean"}, "a": {"type": ["integer", "null"]}}}


@pytest.mark.parametrize(
    ("config", "chats"),
    [
        (
            {"responseMimeType": "application/json"},
            {"guided_json": {"anyOf": [{"type": "object"}, {"type": "array"}]}},
        ),
        ({"responseMimeType": "text/plain"}, {}),
        ({"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}, {"guided_json": SCHEMA}),
        (
            {
                "responseMimeType": "application/json",
                "responseSchema": {
                    "type": "OBJECT",
                    "properties": {
                        "a": {"type": "INTEGER", "nullable": True, "format": "int64"},
                        "b": {"type": "BOOLEAN"},
                    },
                    "propertyOrdering": ["b", "a"],
                },
            },
            {"guided_json": SCHEMA},
        ),
        (
            {"responseMimeType": "text/x.enum", "responseSchema": {"type": "STRING", "enum": ["yes", "no"]}},
            {"guided_choice": ["yes", "no"]},
        ),
    ],
    ids=str,
)
async def test_formats(served: Served, config: dict[str, Any], chats: dict[str, Any]) -> None:
    answer = await ask(served, generationConfig=config)
    assert answer.status_code == 200, answer.text
    assert (await served.post(**chats)).status_code == 200
    mine, other = served.engine.requests
    assert mine.grammar == other.grammar


async def test_sampling_by_either_name(served: Served) -> None:
    camel = {"temperature": 0.25, "topP": 0.5, "topK": 7, "maxOutputTokens": 9, "seed": 3, "presencePenalty": 0.5}
    snake = {
        "temperature": 0.25,
        "top_p": 0.5,
        "top_k": 7.0,
        "max_output_tokens": 9,
        "seed": 3,
        "presence_penalty": 0.5,
    }
    await ask(served, generationConfig=camel)
    await ask(served, generation_config=snake)
    first, second = served.engine.requests
    assert first.sampling == second.sampling
    sampling = first.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.max_tokens) == (0.25, 0.5, 7, 9)
    assert (sampling.seed, sampling.presence_penalty) == (3, 0.5)


@pytest.mark.parametrize(
    ("thinking", "thinks"),
    [
        (None, True),
        ({"includeThoughts": True}, True),
        ({"thinkingBudget": 0}, False),
        ({"thinkingBudget": -1}, True),
        ({"thinkingLevel": "LOW"}, True),
        ({"thinkingLevel": "low"}, True),
    ],
)
async def test_a_model_thinks_as_it_is_used_to_unless_told_not_to(thinker: Served, thinking: Any, thinks: bool) -> None:
    assert (await ask(thinker, generationConfig={"thinkingConfig": thinking})).status_code == 200
    assert prompt_text(thinker).endswith("<think>") is thinks


async def test_models_that_always_or_never_think(served: Served, brooder: Served) -> None:
    refused = await ask(brooder, generationConfig={"thinkingConfig": {"thinkingBudget": 0}})
    assert refused.status_code == 400
    assert "always thinks" in refused.json()["error"]["message"]
    for thinking in ({"thinkingBudget": 0}, {"thinkingBudget": 100}, {"thinkingLevel": "HIGH"}):
        assert (await ask(served, generationConfig={"thinkingConfig": thinking})).status_code == 200


@pytest.mark.parametrize("shown", [False, True])
async def test_thoughts_find_their_way_back(thinker: Served, shown: bool) -> None:
    thinker.engine.script = say(thinker, thought="Zürich? 漢", text="Hi.", calls=[("get-time", "")])
    config = {"thinkingConfig": {"includeThoughts": shown}}
    (candidate,) = (await ask(thinker, tools=TOOLS, generationConfig=config)).json()["candidates"]
    returned = {"functionResponse": {"name": "get-time", "response": {"output": "12:00"}}}
    back = [USER, candidate["content"], turn("user", returned)]
    assert (await ask(thinker, tools=TOOLS, contents=back)).status_code == 200
    assert "<think>Zürich? 漢</think>Hi.functions.get-time:0={}<|im_end|>" in prompt_text(thinker)
    foreign = [USER, turn("model", {**call("Bern"), "thoughtSignature": "AAAA-_"}), turn("user", response("1"))]
    assert (await ask(thinker, tools=TOOLS, contents=foreign)).status_code == 200
    assert "</think>" not in prompt_text(thinker)
