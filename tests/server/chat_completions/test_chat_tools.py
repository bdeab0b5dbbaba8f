"""Tools, formats and reasoning over the wire, whole and streamed, with an engine that is told what to say."""

import json
from collections.abc import Iterable
from typing import Any

import openai
import pytest
from support.fake_engine import ScriptStep, outputs
from support.served import MODEL, Served, chat, frames

from engine import GenerateRequest, RequestRefused
from server.dialects.kimi_tokens import ARGUMENT_BEGIN, CALL_BEGIN, CALL_END, SECTION_BEGIN, SECTION_END

pytestmark = pytest.mark.anyio

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
TIME = {"type": "function", "function": {"name": "get-time.v2"}}
CALLS = [("get_weather", 0, '{"city": "Zürich"}'), ("get-time.v2", 1, "")]


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def say_calls(served: Served, text: str = "", calls: Iterable[tuple[str, int, str]] = CALLS, at_once: int = 1) -> Any:
    """A script: text, then a section of calls."""
    encode, control = served.model.tokenizer.encode, served.model.tokenizer.control_tokens
    token_ids = [*encode(text), control[SECTION_BEGIN]]
    for name, index, arguments in calls:
        token_ids += [control[CALL_BEGIN], *encode(f"functions.{name}:{index}"), control[ARGUMENT_BEGIN]]
        token_ids += [*encode(arguments), control[CALL_END]]
    token_ids += [control[SECTION_END], served.end]

    def script(request: GenerateRequest) -> Iterable[ScriptStep]:
        return outputs(request, token_ids, at_once=at_once)

    return script


MADE = [
    {
        "id": "functions.get_weather:0",
        "type": "function",
        "function": {"name": "get_weather", "arguments": '{"city": "Zürich"}'},
    },
    {"id": "functions.get-time.v2:1", "type": "function", "function": {"name": "get-time.v2", "arguments": "{}"}},
]


async def test_a_whole_answer(served: Served) -> None:
    served.engine.script = say_calls(served)
    choice = (await served.post(tools=[WEATHER, TIME])).json()["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"] == MADE
    served.engine.script = say_calls(served, "Let me see.")
    choice = (await served.post(tools=[WEATHER, TIME], logprobs=True)).json()["choices"][0]
    assert choice["message"]["content"] == "Let me see."
    assert "".join(token["token"] for token in choice["logprobs"]["content"]) == "Let me see."


@pytest.mark.parametrize("at_once", [1, 2, 7, 1000])
async def test_a_stream_begins_calls_and_goes_on_with_their_arguments(served: Served, at_once: int) -> None:
    served.engine.script = say_calls(served, "Let me see.", at_once=at_once)
    *chunks, done = frames((await served.post(tools=[WEATHER, TIME], stream=True)).text)
    assert done == "[DONE]"
    calls: list[dict[str, Any]] = []
    text, fragments = "", 0
    for chunk in chunks:
        delta = chunk["choices"][0]["delta"]
        text += delta.get("content") or ""
        for call in delta.get("tool_calls", ()):
            if call["index"] == len(calls):
                assert set(call) == {"index", "id", "type", "function"}
                assert call["function"]["arguments"] == ""
                calls.append({key: call[key] for key in ("id", "type")} | {"function": dict(call["function"])})
            else:
                assert set(call) == {"index", "function"}
                assert set(call["function"]) == {"arguments"}
                assert call["index"] == len(calls) - 1
                calls[-1]["function"]["arguments"] += call["function"]["arguments"]
                fragments += 1
    assert calls == MADE
    assert text == "Let me see."
    assert chunks[-1]["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "tool_calls"}
    if at_once == 1:
        assert fragments > 5


async def test_a_cut_call_ends_with_length(served: Served) -> None:
    served.engine.script = say_calls(served)
    whole = (await served.post(tools=[WEATHER, TIME])).json()["usage"]["completion_tokens"]
    for kept in range(1, whole):
        choice = (await served.post(tools=[WEATHER, TIME], max_tokens=kept)).json()["choices"][0]
        assert choice["finish_reason"] == "length"
        for made, call in zip(MADE, choice["message"].get("tool_calls", ()), strict=False):
            assert call["id"] == made["id"]
            assert made["function"]["arguments"].startswith(call["function"]["arguments"].rstrip("\ufffd"))


async def test_what_cannot_be_enforced_is_no_matter_where_it_may_not_be_called(served: Served) -> None:
    answer = await served.post(tools=schema(type="array", uniqueItems=True), tool_choice="none")
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("choice", "begins", "callable_names"),
    [
        ("auto", True, {"get_weather", "get-time.v2"}),
        ("required", False, {"get_weather", "get-time.v2"}),
        (named("get_weather"), False, {"get_weather"}),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [named("get_weather")]}},
            True,
            {"get_weather"},
        ),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [named("get_weather")]}},
            False,
            {"get_weather"},
        ),
    ],
)
async def test_tool_choice_reaches_the_engine(
    served: Served, choice: Any, begins: bool, callable_names: set[str]
) -> None:
    await served.post(tools=[WEATHER, TIME], tool_choice=choice)
    request = served.engine.requests[-1]
    assert request.grammar is not None
    assert request.grammar.source is not None
    assert bool(request.grammar.begin_with) is begins
    for name in ("get_weather", "get-time.v2"):
        assert (f"functions.{name}:" in request.grammar.source) is (name in callable_names)
    plain = await served.post(tools=[WEATHER, TIME])
    assert plain.status_code == 200
    assert served.engine.requests[-1].prompt == request.prompt, "all tools are declared whatever the choice"


async def test_none_and_the_switch_for_measurements(served: Served, serve: Any) -> None:
    await served.post(tools=[WEATHER], tool_choice="none")
    grammar = served.engine.requests[-1].grammar
    assert grammar is not None
    assert grammar.source is None
    assert grammar.forbidden
    await served.post()
    assert served.engine.requests[-1].grammar is None
    free = serve(constrained_decoding=False)
    free.engine.script = say_calls(free)
    answer = (await free.post(tools=[WEATHER, TIME], tool_choice="required")).json()
    assert answer["choices"][0]["message"]["tool_calls"] == MADE
    assert free.engine.requests[-1].grammar is None


async def test_one_call_only(served: Served) -> None:
    served.engine.script = say_calls(served)
    answer = await served.post(tools=[WEATHER, TIME], parallel_tool_calls=False)
    assert answer.json()["choices"][0]["message"]["tool_calls"] == MADE[:1]


@pytest.mark.parametrize(
    ("fields", "source"),
    [
        ({"response_format": {"type": "json_object"}}, "%json"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "integer"}}}},
            '"integer"',
        ),
        ({"structured_outputs": {"json": {"type": "integer"}}}, '"integer"'),
        ({"structured_outputs": {"json_object": True}}, '"object"'),
        ({"structured_outputs": {"choice": ["a", "b"]}}, '"a" | "b"'),
        ({"guided_json": '{"type": "integer"}'}, '"integer"'),
        ({"guided_regex": "a/b"}, r"/a\/b/"),
        ({"guided_grammar": 'start: "x"'}, "%lark"),
        ({"guided_choice": ["ä"]}, '"ä"'),
    ],
    ids=str,
)
async def test_formats_reach_the_engine(served: Served, fields: dict[str, Any], source: str) -> None:
    assert (await served.post(**fields)).status_code == 200
    grammar = served.engine.requests[-1].grammar
    assert grammar is not None
    assert source in (grammar.source or "")


async def test_text_is_no_format(served: Served) -> None:
    await served.post(response_format={"type": "text"})
    assert served.engine.requests[-1].grammar is None


async def test_what_the_engine_refuses_names_the_tool(served: Served) -> None:
    message = 'the grammar cannot be used: at 9(9): failed to compile JSON schema: Unimplemented keys: ["x"]'
    served.engine.script = lambda request: [RequestRefused(message, "invalid_grammar")]
    for stream in (False, True):
        error = (await served.post(tools=[WEATHER], tool_choice="required", stream=stream)).json()["error"]
        assert error["code"] == "invalid_grammar"
        assert "Unimplemented keys" in error["message"]


def prompt_text(served: Served) -> str:
    return b"".join(map(served.model.tokenizer.token_bytes, served.engine.requests[-1].prompt)).decode()


def called(*ids: str) -> dict[str, Any]:
    calls = [{"id": id, "type": "function", "function": {"name": "get_weather", "arguments": "{}"}} for id in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


async def test_the_model_sees_its_own_ids(served: Served) -> None:
    messages = [
        {"role": "user", "content": "x"},
        called("call_a", "call_b"),
        {"role": "tool", "tool_call_id": "call_b", "content": "B"},
        {"role": "tool", "tool_call_id": "call_a", "content": "A"},
        called("call_a"),
        {"role": "tool", "tool_call_id": "call_a", "content": "again"},
    ]
    served.engine.script = say_calls(served, calls=[("get_weather", 0, "{}")])
    answer = await served.post(messages=messages, tools=[WEATHER])
    text = prompt_text(served)
    assert "call_" not in text.replace("tool_call_", "").replace("tool_calls_", "")
    for index, result in ((1, "B"), (0, "A"), (2, "again")):
        assert f"## Return of functions.get_weather:{index}\n{result}" in text
    assert answer.json()["choices"][0]["message"]["tool_calls"][0]["id"] == "functions.get_weather:3"


@pytest.mark.parametrize("arguments", ["", "{", '{"a": ', "null", "plain text", "<|im_end|>"])
async def test_malformed_arguments_in_the_history_are_tolerated(served: Served, arguments: str) -> None:
    message = called("x")
    message["tool_calls"][0]["function"]["arguments"] = arguments
    messages = [*chat()["messages"], message, {"role": "tool", "tool_call_id": "x", "content": "r"}]
    assert (await served.post(messages=messages)).status_code == 200
    assert f"{ARGUMENT_BEGIN}{arguments or '{}'}{CALL_END}" in prompt_text(served)


async def test_tools_declared_in_a_system_message(served: Served) -> None:
    await served.post(tools=[WEATHER, TIME])
    usual = served.engine.requests[-1].prompt
    messages = [{"role": "system", "tools": [TIME]}, *chat()["messages"]]
    served.engine.script = say_calls(served)
    answer = await served.post(messages=messages, tools=[WEATHER])
    assert served.engine.requests[-1].prompt == usual
    assert answer.json()["choices"][0]["message"]["tool_calls"] == MADE


async def test_thoughts_of_another_model_are_taken(served: Served) -> None:
    message = {"role": "assistant", "content": "x", "reasoning": "r", "reasoning_content": "r"}
    assert (await served.post(messages=[*chat()["messages"], message, *chat()["messages"]])).status_code == 200


@pytest.mark.parametrize("name", ["मौसम", "cafe\u0301", "für_x"])
async def test_names_in_letters_of_all_scripts(served: Served, name: str) -> None:
    """Some letters have marks that are characters of their own."""
    served.engine.script = say_calls(served, calls=[(name, 0, "{}")])
    choice = (await served.post(tools=[tool(name=name)])).json()["choices"][0]
    assert choice["message"]["tool_calls"][0]["function"]["name"] == name


TOOL: dict[str, Any] = {"type": "function", "function": {"name": "f"}}


def tool(**function: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f"} | function}


def schema(**parameters: Any) -> list[dict[str, Any]]:
    return [tool(parameters={"type": "object", "properties": {"a": parameters}})]


PARAMETERS = "tools[0].function.parameters"
BAD: list[tuple[str, dict[str, Any], str, str]] = [
    ("no tools", {"tools": []}, "tools", "empty"),
    ("no name", {"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name", "missing"),
    ("an empty name", {"tools": [tool(name="")]}, "tools[0].function.name", "1 to 64"),
    ("a long name", {"tools": [tool(name="x" * 65)]}, "tools[0].function.name", "64"),
    ("spaces in a name", {"tools": [tool(name="get weather")]}, "tools[0].function.name", "letters"),
    ("two of one name", {"tools": [TOOL, TOOL]}, "tools[1].function.name", "two tools"),
    ("another kind", {"tools": [{"type": "web_search"}]}, "tools[0].type", "function"),
    ("parameters of a string", {"tools": [tool(parameters={"type": "string"})]}, PARAMETERS, "type object"),
    ("parameters that are none", {"tools": [tool(parameters=[])]}, PARAMETERS, "object"),
    ("1,000 tools", {"tools": [tool(name=f"f{n}") for n in range(1000)]}, "tools", "512"),
    (
        "more tools than the limit in several places",
        {
            "tools": [tool(name=f"f{n}") for n in range(500)],
            "messages": [{"role": "system", "tools": [tool(name=f"g{n}") for n in range(13)]}, *chat()["messages"]],
        },
        "messages[0].tools[12].function",
        "513 tools; at most 512",
    ),
    ("an unknown type", {"tools": schema(type="dict")}, PARAMETERS, "#/properties/a/type"),
    (
        "a wrong schema that no call needs",
        {"tools": [tool(parameters={"type": "object", "required": 5})], "tool_choice": "none"},
        PARAMETERS,
        "#/required",
    ),
    (
        "a wrong schema of a tool that is not chosen",
        {"tools": [tool(name="g"), *schema(type="dict")], "tool_choice": named("g")},
        "tools[1].function.parameters",
        "#/properties/a/type",
    ),
    ("required that is no list", {"tools": schema(type="object", required="x")}, PARAMETERS, "#/properties/a/required"),
    ("a keyword", {"tools": schema(type="array", uniqueItems=True)}, PARAMETERS, "'uniqueItems'"),
    ("a remote reference", {"tools": schema(**{"$ref": "http://x.invalid/y"})}, PARAMETERS, "#/properties/a/$ref"),
    ("a reference to nothing", {"tools": schema(**{"$ref": "#/$defs/no"})}, PARAMETERS, "points at nothing"),
    ("a large schema", {"tools": schema(enum=["x" * 1000 + str(n) for n in range(1000)])}, PARAMETERS, "262,144"),
    ("an undeclared choice", {"tools": [TOOL], "tool_choice": named("g")}, "tool_choice.function.name", "'g'"),
    ("a choice of nothing", {"tool_choice": "required"}, "tool_choice", "needs tools"),
    ("auto without tools", {"tool_choice": "auto"}, "tool_choice", "needs tools"),
    ("no choice at all", {"tools": [TOOL], "tool_choice": "any"}, "tool_choice", "required"),
    ("a choice that is a number", {"tools": [TOOL], "tool_choice": 5}, "tool_choice", "allowed_tools"),
    (
        "an undeclared one allowed",
        {
            "tools": [TOOL],
            "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [TOOL, named("g")]}},
        },
        "tool_choice.allowed_tools.tools[1].function.name",
        "'g'",
    ),
    ("parallel calls of nothing", {"parallel_tool_calls": True}, "parallel_tool_calls", "needs tools"),
    (
        "a result of nothing",
        {"messages": [*chat()["messages"], called("a"), {"role": "tool", "tool_call_id": "b", "content": "x"}]},
        "messages[2].tool_call_id",
        "'b'",
    ),
    (
        "a result before any call",
        {"messages": [{"role": "tool", "tool_call_id": "a", "content": "x"}, *chat()["messages"]]},
        "messages[0].tool_call_id",
        "'a'",
    ),
    ("an unknown format", {"response_format": {"type": "xml"}}, "response_format", "json_schema"),
    ("a format that is a word", {"response_format": "json_object"}, "response_format", "json_schema"),
    ("no schema", {"response_format": {"type": "json_schema"}}, "response_format.json_schema", "missing"),
    (
        "a wrong schema",
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "dict"}}}},
        "response_format.json_schema.schema",
        "#/type",
    ),
    ("two formats", {"response_format": {"type": "json_object"}, "guided_regex": "a"}, "guided_regex", "one format"),
    ("no structure", {"structured_outputs": {}}, "structured_outputs", "exactly one"),
    ("two structures", {"structured_outputs": {"regex": "a", "choice": ["a"]}}, "structured_outputs", "exactly one"),
    ("no JSON", {"guided_json": "{"}, "guided_json", "not JSON"),
    ("no choices", {"guided_choice": []}, "guided_choice", "at least 1"),
    ("an effort", {"reasoning_effort": "high"}, "reasoning_effort", "none"),
    ("thoughts of one that has none", {"thinking": {"type": "enabled"}}, "thinking", "does not think"),
    ("thinking both ways", {"thinking": {"type": "enabled"}, "reasoning_effort": "none"}, "reasoning_effort", "differ"),
    ("a system message that says nothing", {"messages": [{"role": "system"}]}, "messages[0]", "content or tools"),
]


@pytest.mark.parametrize(("fields", "param", "word"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
async def test_bad_input_is_told(served: Served, fields: dict[str, Any], param: str, word: str) -> None:
    answer = await served.post(**fields)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["param"] == param, error
    assert word in error["message"], error
    assert len(error["message"]) < 600
    assert not served.engine.requests
    assert (await served.post()).status_code == 200


async def test_recursive_schemas_are_fine(served: Served) -> None:
    parameters = {"type": "object", "properties": {"child": {"$ref": "#"}, "name": {"type": "string"}}}
    assert (await served.post(tools=[tool(parameters=parameters)])).status_code == 200


async def test_the_loop_of_call_result_answer_with_the_sdk(served: Served) -> None:
    """As people write it: on while the finish reason says so, the answer's message sent back as it came."""
    script = [
        say_calls(served, "Let me see."),
        say_calls(served, calls=[("get_weather", 2, '{"city": "Rome"}')]),
        served.say("It is sunny."),
    ]
    turns = iter(script)
    served.engine.script = lambda request: next(turns)(request)
    messages: list[Any] = [{"role": "user", "content": "Weather?"}]
    seen = []
    http = served.client()
    async with openai.AsyncOpenAI(base_url="http://abruzzi/v1", api_key="x", max_retries=0, http_client=http) as client:
        while True:
            answer = await client.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER, TIME])  # type: ignore[list-item]
            choice = answer.choices[0]
            messages.append(choice.message)
            if choice.finish_reason != "tool_calls":
                break
            for call in choice.message.tool_calls or ():
                assert call.type == "function"
                json.loads(call.function.arguments)
                seen.append(call.id)
                messages.append({"role": "tool", "tool_call_id": call.id, "content": f"result of {call.id}"})
    assert choice.message.content == "It is sunny."
    assert seen == ["functions.get_weather:0", "functions.get-time.v2:1", "functions.get_weather:2"]
    for id in seen:
        assert f"## Return of {id}\nresult of {id}" in prompt_text(served)


async def test_the_sdks_accumulator_of_streams(served: Served) -> None:
    served.engine.script = say_calls(served, "Let me see.")
    http = served.client()
    async with (
        openai.AsyncOpenAI(base_url="http://abruzzi/v1", api_key="x", max_retries=0, http_client=http) as client,
        client.chat.completions.stream(
            model=MODEL,
            messages=[{"role": "user", "content": "x"}],
            tools=[WEATHER, TIME],  # type: ignore[list-item]
        ) as stream,
    ):
        final = await stream.get_final_completion()
        # What the SDK parsed goes back with the message.
        messages: list[Any] = [{"role": "user", "content": "x"}, final.choices[0].message]
        messages += [{"role": "tool", "tool_call_id": made["id"], "content": "sunny"} for made in MADE]
        again = await client.chat.completions.create(model=MODEL, messages=messages)
    assert again.choices[0].message.role == "assistant"
    assert "parsed" not in prompt_text(served)
    calls = final.choices[0].message.tool_calls or []
    assert [(call.id, call.function.name, call.function.arguments) for call in calls] == [
        (made["id"], made["function"]["name"], made["function"]["arguments"])  # type: ignore[index]
        for made in MADE
    ]
    assert final.choices[0].finish_reason == "tool_calls"
