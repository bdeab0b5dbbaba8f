"""The demonstration model through the real server, greedily and without constrained decoding: what it says and calls
must be right in meaning. A fault in the prompt, the mask or the parser shows here as a model that suddenly fails."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.serving import Server, serving

import demo
from engine.kernels.cpu.library import find_library


def tool(name: str, description: str, required: list[str], **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": required}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


TEXT, INTEGER = {"type": "string"}, {"type": "integer"}
WEATHER = tool(
    "get_weather",
    "Get the current weather in a given location",
    ["location"],
    location={"type": "string", "description": "The city, e.g. San Francisco"},
    unit={"type": "string", "enum": ["celsius", "fahrenheit"]},
)
EMAIL = tool("send_email", "Send an email to a recipient", ["to", "subject"], to=TEXT, subject=TEXT)
TIMER = tool("set_timer", "Sets a timer for some minutes", ["minutes"], minutes=INTEGER)
HOTEL = tool("book_hotel", "Book a hotel in a city", ["city", "nights"], city=TEXT, nights=INTEGER)
FLIGHT = tool(
    "search_flights", "Search flights between two cities", ["destination", "origin"], origin=TEXT, destination=TEXT
)
NOTE = tool("delete_note", "Deletes a note.", ["title"], title=TEXT)
STOCK = tool("get_stock_price", "Get the current price of a stock", ["symbol"], symbol=TEXT)

FROM_ROME = {"origin": "Rome", "destination": "Berlin"}
TO_ANNA = {"to": "anna@acme.com", "subject": "jazz music"}

User = str
Calls = list[tuple[str, dict[str, Any]]]

CALLS: dict[str, tuple[list[dict[str, Any]], User, Calls]] = {
    "weather": ([WEATHER], "What is the weather in Paris?", [("get_weather", {"location": "Paris"})]),
    "timer": ([TIMER], "Set a timer for 12 minutes.", [("set_timer", {"minutes": 12})]),
    "the second": ([TIMER, WEATHER], "What is the weather in London?", [("get_weather", {"location": "London"})]),
    "the first": ([TIMER, WEATHER], "Please start a timer for 5 minutes.", [("set_timer", {"minutes": 5})]),
    "hotel": ([HOTEL], "Book a hotel in Madrid for 3 nights.", [("book_hotel", {"city": "Madrid", "nights": 3})]),
    "flight": ([FLIGHT], "Find a flight from Rome to Berlin.", [("search_flights", FROM_ROME)]),
    "email": ([EMAIL], "Send an email to anna@acme.com about jazz music.", [("send_email", TO_ANNA)]),
    "note": ([NOTE, TIMER], "Please delete the note called milk.", [("delete_note", {"title": "milk"})]),
    "stock": ([STOCK], "What is the stock price of ABC?", [("get_stock_price", {"symbol": "ABC"})]),
    "two at once": (
        [tool("get_weather", "Get the current weather in a given location", ["location"], location=TEXT)],
        "What is the weather in Paris and Rome?",
        [("get_weather", {"location": "Paris"}), ("get_weather", {"location": "Rome"})],
    ),
    "twice the same": (
        [HOTEL],
        "Book a hotel in Madrid for 3 nights and book a hotel in Rome for 2 nights.",
        [("book_hotel", {"city": "Madrid", "nights": 3}), ("book_hotel", {"city": "Rome", "nights": 2})],
    ),
    "the same in two sentences": (
        [TIMER],
        "Set a timer for 5 minutes. Set a timer for 10 minutes.",
        [("set_timer", {"minutes": 5}), ("set_timer", {"minutes": 10})],
    ),
    "none fits": ([TIMER], "Book a hotel in Madrid for 3 nights.", []),
    "none needed": ([WEATHER], "Hello", []),
    "a value is missing": ([WEATHER], "What is the weather?", []),
}
RESULTS = {
    "object": ('{"temperature": 18, "condition": "cloudy"}', ["18", "cloudy"]),
    "text": ("23.5", ["23.5"]),
    "list": ('{"results":["Lisbon","Porto"]}', ["Lisbon", "Porto"]),
    "error": ('{"error": "unknown city"}', ["error", "unknown city"]),
}
TALK = {
    "hello": (["Hello"], ["Hello"]),
    "french": (["Bonjour"], ["Bonjour"]),
    "itself": (["What are you?"], ["demonstration model"]),
    "capital": (["What is the capital of France?"], ["Paris"]),
    "spur": (["What is the Abruzzi Spur?"], ["K2"]),
    "repeat": (["Repeat: blue apple 42"], ["blue apple 42"]),
    "list": (["Name three fruits."], ["apple, banana, orange"]),
    "memory": (["My name is Peter.", "What is my name?"], ["Peter"]),
}


FLAGS = ["--served-model-name", demo.DEFAULT_NAME, "--no-constrained-decoding", "--max-model-len", "2048"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("log") / "server.log"
    with serving(demo.default_checkpoint(), log, *FLAGS) as running:
        yield running


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The same in plain torch."""
    log = tmp_path_factory.mktemp("plain") / "server.log"
    with serving(demo.default_checkpoint(), log, *FLAGS, "--kernels", "torch") as running:
        yield running


def ask(server: Server, messages: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    body = {"model": demo.DEFAULT_NAME, "messages": messages, "temperature": 0, "max_tokens": 120, **fields}
    choice = server.post("/v1/chat/completions", body).json()["choices"][0]
    assert choice["finish_reason"] != "length", choice
    message: dict[str, Any] = choice["message"]
    return message


def called(message: dict[str, Any]) -> Calls:
    functions = [call["function"] for call in message.get("tool_calls") or []]
    return [(function["name"], json.loads(function["arguments"])) for function in functions]


@pytest.mark.parametrize("name", CALLS)
def test_calls(server: Server, name: str) -> None:
    tools, text, calls = CALLS[name]
    message = ask(server, [{"role": "user", "content": text}], tools=tools)
    assert called(message) == calls
    assert calls or message["content"]


@pytest.mark.parametrize("name", RESULTS)
def test_the_answer_quotes_the_result(server: Server, name: str) -> None:
    result, quoted = RESULTS[name]
    messages: list[dict[str, Any]] = [{"role": "user", "content": "What is the weather in Paris?"}]
    messages.append(ask(server, messages, tools=[WEATHER]))
    (call,) = messages[-1]["tool_calls"]
    messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})
    message = ask(server, messages, tools=[WEATHER])
    assert not called(message)
    for value in quoted:
        assert value in message["content"]


@pytest.mark.parametrize("name", TALK)
def test_talk(server: Server, name: str) -> None:
    said, expected = TALK[name]
    messages: list[dict[str, Any]] = []
    for text in said:
        messages.append({"role": "user", "content": text})
        messages.append(ask(server, messages))
    for part in expected:
        assert part in messages[-1]["content"]


@pytest.mark.skipif(find_library() is None, reason="the native kernels were not built: no C++ compiler")
def test_the_native_kernels_change_no_word(server: Server, plain: Server) -> None:
    asked = [([{"role": "user", "content": text}], {"tools": tools}) for tools, text, _ in CALLS.values()]
    asked += [([{"role": "user", "content": text} for text in said], {}) for said, _ in TALK.values()]
    for messages, fields in asked:
        found, expected = (ask(one, messages, **fields) for one in (server, plain))
        assert (found["content"], called(found)) == (expected["content"], called(expected))


def test_a_persona_is_kept(server: Server) -> None:
    messages = [{"role": "system", "content": "You are Clara."}, {"role": "user", "content": "Who are you?"}]
    assert "Clara" in ask(server, messages)["content"]


def test_it_thinks_when_it_is_told_to(server: Server) -> None:
    messages = [{"role": "user", "content": "Find a flight from Rome to Berlin."}]
    message = ask(server, messages, tools=[FLIGHT], chat_template_kwargs={"thinking": True})
    assert message["reasoning_content"]
    assert called(message) == [("search_flights", FROM_ROME)]
    assert not ask(server, messages, tools=[WEATHER]).get("reasoning_content")


def test_the_readme_shows_what_comes(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """Its Python examples, run one after the other, and the answers that it gives after them."""
    text = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    source = "".join(blocks).replace("http://127.0.0.1:8000", server.url)
    assert "tools=tools" in source
    exec(compile(source, "README.md", "exec"), {})
    spur, call, answer = capsys.readouterr().out.splitlines()
    assert f"answers `{spur}`" in text
    assert f"\n    {call}\n    {answer}\n" in text
