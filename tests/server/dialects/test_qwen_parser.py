"""Qwen's output as events: both forms of calls, every order of markers, every cut, and what must never leave."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.dialect_answers import read_answer, without_ids
from support.qwen_checkpoints import CONTROL, QwenCheckpoint

from server.conversation import Conversation, Message, OutputContract, Tool, ToolChoice
from server.events import TextDelta, ToolCallArguments, ToolCallStart

PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "sure": {"type": "boolean"},
        "unit": {"type": ["string", "null", "number"]},
        "where": {"anyOf": [{"$ref": "#/$defs/place"}, {"type": "string"}]},
        "list": {"type": "array"},
        "any": {},
    },
    "$defs": {"place": {"type": "object"}},
}
TOOLS = (Tool("get_weather", parameters=PARAMETERS), Tool("a-b.c_d"), Tool("wetter:für"))
NAMES = {tool.name for tool in TOOLS}
ASKED = Conversation((Message("user", "x"),), TOOLS)


@cache
def checkpoint(template: str) -> QwenCheckpoint:
    with TemporaryDirectory() as folder:
        return QwenCheckpoint(Path(folder), template)


JSON, THINKS, XML = "chat_template.jinja", "chat_template.thinking.jinja", "coder_like.jinja"


def read(
    template: str, token_ids: Sequence[int], cuts: Sequence[int] = (), reason: str = "stop", *, parallel: bool = True
) -> dict[str, Any]:
    qwen = checkpoint(template)
    contract = OutputContract(parallel_tool_calls=parallel)
    parser = qwen.dialect.output_parser(ASKED, contract)
    answer = without_ids(read_answer(parser, qwen.tokenizer, token_ids, stop=qwen.end, cuts=cuts, reason=reason))
    for call in answer["calls"]:
        assert call["name"] in NAMES
    return answer


def made(answer: dict[str, Any]) -> list[tuple[str, str]]:
    return [(call["name"], call["arguments"]) for call in answer["calls"]]


Case = tuple[str, tuple[str, ...], str, str, list[tuple[str, str]]]
CALL, END = "<tool_call>", "</tool_call>"
ONE = (CALL, '\n{"name": "get_weather", "arguments": {"city": "Zürich"}}\n', END)
W = ("get_weather", '{"city": "Zürich"}')
NONE = ("a-b.c_d", "{}")
JSON_CASES: dict[str, Case] = {
    "a call": (JSON, ONE, "", "", [W]),
    "text before": (JSON, ("Let me see.\n", *ONE), "Let me see.", "", [W]),
    "two calls, noise between and behind": (JSON, (*ONE, "\nand\n", *ONE, "\n\nDone"), "", "", [W, W]),
    "compact": (
        JSON,
        (CALL, '{"name":"get_weather","arguments":{"city":"Zürich"}}', END),
        "",
        "",
        [("get_weather", '{"city":"Zürich"}')],
    ),
    "over lines": (
        JSON,
        (CALL, '\n{\n  "name" : "a-b.c_d",\n  "arguments" : {\n}\n}\n', END),
        "",
        "",
        [("a-b.c_d", "{\n}")],
    ),
    "the name behind": (JSON, (CALL, '{"arguments": {"city": "Zürich"}, "name": "get_weather"}', END), "", "", [W]),
    "other keys": (
        JSON,
        (CALL, '{"id": 7, "x": ["}"], "name": "a-b.c_d", "arguments": {}, "y": "z"}', END),
        "",
        "",
        [NONE],
    ),
    "arguments twice": (
        JSON,
        (CALL, '{"name": "a-b.c_d", "arguments": {}, "arguments": {"a": 1}}', END),
        "",
        "",
        [NONE],
    ),
    "parameters": (JSON, (CALL, '{"name": "a-b.c_d", "parameters": {}}', END), "", "", [NONE]),
    "arguments as text": (
        JSON,
        (CALL, '{"name": "a-b.c_d", "arguments": "{\\"q\\": 1}"}', END),
        "",
        "",
        [("a-b.c_d", '{"q": 1}')],
    ),
    "null": (JSON, (CALL, '{"name": "a-b.c_d", "arguments": null}', END), "", "", [NONE]),
    "no arguments": (JSON, (CALL, '{"name": "a-b.c_d"}', END), "", "", [NONE]),
    "an escaped name": (
        JSON,
        (CALL, '{"name": "wetter:f\\u00fcr", "arguments": {}}', END),
        "",
        "",
        [("wetter:für", "{}")],
    ),
    "braces and quotes within": (
        JSON,
        (CALL, '{"name": "a-b.c_d", "arguments": {"q": "}\\"]{"}}', END),
        "",
        "",
        [("a-b.c_d", '{"q": "}\\"]{"}')],
    ),
    "no end": (JSON, ONE[:-1], "", "", [W]),
    "an undeclared name": (JSON, ("Hm", CALL, '{"name": "other", "arguments": {}}', END), "Hm", "", []),
    "no name": (JSON, ("Hm", CALL, '{"arguments": {"a": 1}}', END), "Hm", "", []),
    "nonsense": (JSON, ("Hm", CALL, "once upon a time " * 60, END), "Hm", "", []),
    "an unfinished call": (JSON, (CALL, '{"name": "a-b.c_d", "argum', END), "", "", [NONE]),
    "thoughts": (JSON, ("<think>", "\nHm.\n", "</think>", "\n\nYes.\n"), "Yes.\n", "Hm.", []),
    "thoughts and a call": (JSON, ("<think>", "\nHm.\n\n", "</think>", "\n\n", *ONE), "", "Hm.", [W]),
    "empty thoughts": (JSON, ("<think>", "\n\n", "</think>", "\n\nYes."), "Yes.", "", []),
    "newlines behind the gap": (JSON, ("<think>", "x", "</think>", "\n\n\nYes."), "\nYes.", "x", []),
    "a call within thoughts": (JSON, ("<think>", "\nHm.\n", *ONE, "</think>", "x"), "", "Hm.", [W]),
    "thoughts that the prompt opened": (THINKS, ("Hm.\n", "</think>", "\n\nYes."), "Yes.", "Hm.", []),
    "stray markers": (JSON, ("a", END, "b", "</think>", "c", "<tool_response>", "d"), "abcd", "", []),
    "newlines of the text": (JSON, ("\n\na\n\nb\n\n",), "\n\na\n\nb\n\n", "", []),
    "nothing": (JSON, (), "", "", []),
}


def xml(*parameters: tuple[str, str], name: str = "get_weather") -> tuple[str, ...]:
    body = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in parameters)
    return (CALL, f"\n<function={name}>\n{body}</function>\n", END)


def values(*parameters: tuple[str, str], expected: dict[str, Any]) -> Case:
    return (XML, xml(*parameters), "", "", [("get_weather", json.dumps(expected, ensure_ascii=False))])


XML_CASES: dict[str, Case] = {
    "a string": values(("city", "Zürich"), expected={"city": "Zürich"}),
    "a string of several lines": values(("city", 'a\n "b"\\\n</par>\n'), expected={"city": 'a\n "b"\\\n</par>\n'}),
    "an empty string": values(("city", ""), expected={"city": ""}),
    "a string like a number": values(("city", "5"), expected={"city": "5"}),
    "a string with the end of its tag": values(("city", "x</parameter>y"), expected={"city": "x</parameter>y"}),
    "a number": values(("days", "-12"), expected={"days": -12}),
    "words": values(("sure", "True"), ("unit", "None"), expected={"sure": True, "unit": None}),
    "words of JSON": values(("sure", "false"), ("unit", "null"), expected={"sure": False, "unit": None}),
    "a number beside strings": values(("unit", "1.5"), expected={"unit": 1.5}),
    "no number": values(("unit", "1.5.2"), expected={"unit": "1.5.2"}),
    "no word": values(("unit", "nully"), expected={"unit": "nully"}),
    "a word of another type": values(("unit", "true"), expected={"unit": "true"}),
    "an object": values(("where", '{"a": ["\\n</parameter>"]}'), expected={"where": {"a": ["\n</parameter>"]}}),
    "a reference that is a string": values(("where", "here"), expected={"where": "here"}),
    "an array": values(("list", '[1, "2"]'), expected={"list": [1, "2"]}),
    "anything": values(("any", "{}"), ("list", "[]"), expected={"any": {}, "list": []}),
    "an unknown key": values(("new", "1"), ("other", "x"), expected={"new": 1, "other": "x"}),
    "a key twice": values(("days", "1"), ("days", "2"), expected={"days": 1}),
    "what is no number": values(("days", "a few"), expected={"days": "a few"}),
    "no parameters": (XML, xml(name="a-b.c_d"), "", "", [NONE]),
    "text, two calls": (
        XML,
        ("Let me.\n\n", *xml(name="a-b.c_d"), "\n", *xml(("city", "Bonn"))),
        "Let me.",
        "",
        [NONE, ("get_weather", '{"city": "Bonn"}')],
    ),
    "on one line": (
        XML,
        (CALL, "<function=get_weather><parameter=city>Bonn</parameter><parameter=days>3</parameter></function>", END),
        "",
        "",
        [("get_weather", '{"city": "Bonn", "days": 3}')],
    ),
    "an empty line less": (
        XML,
        (CALL, "\n<function=get_weather>\n<parameter=city>\n</parameter>\n</function>\n", END),
        "",
        "",
        [("get_weather", '{"city": ""}')],
    ),
    "the end lacks": (
        XML,
        (CALL, "\n<function=get_weather>\n<parameter=city>\nBonn", END),
        "",
        "",
        [("get_weather", '{"city": "Bonn"}')],
    ),
    "all ends lack": (
        XML,
        (CALL, "\n<function=get_weather>\n<parameter=days>\n3\n</parameter>"),
        "",
        "",
        [("get_weather", '{"days": 3}')],
    ),
    "noise between tags": (
        XML,
        (CALL, "so\n<function=get_weather>\nwith\n<parameter=days>\n3\n</parameter>\n.</function>x", END),
        "",
        "",
        [("get_weather", '{"days": 3}')],
    ),
    "an undeclared function": (XML, ("Hm", *xml(("a", "b"), name="other")), "Hm", "", []),
    "no function": (XML, ("Hm", CALL, "\n<parameter=a>\nb\n</parameter>\n", END), "Hm", "", []),
}
CASES = {f"JSON: {name}": case for name, case in JSON_CASES.items()} | {f"XML: {n}": c for n, c in XML_CASES.items()}


@pytest.mark.parametrize(("template", "parts", "text", "reasoning", "calls"), CASES.values(), ids=CASES)
def test_what_a_client_gets(
    template: str, parts: tuple[str, ...], text: str, reasoning: str, calls: list[tuple[str, str]]
) -> None:
    token_ids = checkpoint(template).tokens(*parts)
    answer = read(template, token_ids)
    assert (answer["text"], answer["reasoning"], made(answer)) == (text, reasoning, calls)
    assert answer["reason"] == ("tool_calls" if calls else "stop")
    assert all(call["complete"] for call in answer["calls"])
    for cut in range(1, len(token_ids) + 1):
        assert read(template, token_ids, (cut,)) == answer
    assert read(template, token_ids, range(len(token_ids) + 1)) == answer


@pytest.mark.parametrize(("template", "parts"), [(JSON, ONE), (XML, xml(("city", "Zürich"), ("days", "3")))])
def test_a_cut_answer_keeps_what_was_made(template: str, parts: tuple[str, ...]) -> None:
    whole = checkpoint(template).tokens("Well.\n", *parts)
    full = made(read(template, whole))[0][1]
    grown = ""
    for kept in range(1, len(whole) - 1):
        answer = read(template, whole[:kept], reason="length")
        assert answer["reason"] == "length"
        assert "Well.\n".startswith(answer["text"])
        assert not any(call["complete"] for call in answer["calls"])
        for _, arguments in made(answer):
            arguments = arguments.rstrip("\ufffd")
            assert full.startswith(arguments)
            grown = max(grown, arguments, key=len)
    assert len(grown) > len(full) - 3


def test_calls_can_be_limited_and_have_ids_of_their_own() -> None:
    qwen = checkpoint(JSON)
    two = qwen.tokens(*ONE, "\n", *ONE)
    assert len(read(JSON, two)["calls"]) == 2
    assert len(read(JSON, two, parallel=False)["calls"]) == 1
    starts = [
        delta
        for delta in qwen.dialect.output_parser(ASKED, OutputContract()).feed(two)
        if isinstance(delta, ToolCallStart)
    ]
    assert all(len(start.id) == 29 and start.id.startswith("call_") for start in starts)
    assert starts[0].id != starts[1].id


@pytest.mark.parametrize(
    ("template", "head", "body"),
    [
        (JSON, '\n{"name": "get_weather", "arguments": {"city": "', "abcdef"),
        (XML, "\n<function=get_weather>\n<parameter=city>\nx", "abcdef"),
        (XML, "\n<function=get_weather>\n<parameter=unit>\nx", "abcdef"),
        (XML, '\n<function=get_weather>\n<parameter=any>\n{"', "abcdef"),
    ],
)
def test_arguments_are_streamed_as_they_are_made(template: str, head: str, body: str) -> None:
    qwen = checkpoint(template)
    reader = qwen.dialect.output_parser(ASKED, OutputContract())
    reader.feed(qwen.tokens(CALL, head))
    for token in qwen.tokens(body):
        assert reader.feed([token]) == [ToolCallArguments(0, chr(qwen.tokenizer.token_bytes(token)[0]))]


def test_text_is_held_back_no_longer_than_it_must() -> None:
    qwen = checkpoint(XML)
    reader = qwen.dialect.output_parser(ASKED, OutputContract())
    assert reader.feed(qwen.tokens("a\n")) == [TextDelta("a")]
    assert reader.feed(qwen.tokens("<b")) == [TextDelta("\n<b")]
    reader.feed(qwen.tokens("\n", CALL, "\n<function=get_weather>\n<parameter=city>\n"))
    reader.feed(qwen.tokens("x"))
    for text, said in (("\n", []), ("<", []), ("/", []), ("p", []), ("x", [ToolCallArguments(0, "\\n</px")])):
        assert reader.feed(qwen.tokens(text)) == said


@pytest.mark.parametrize("template", [JSON, XML])
def test_without_tools_calls_are_noise(template: str) -> None:
    qwen = checkpoint(template)
    for conversation, contract in (
        (Conversation(()), OutputContract()),
        (Conversation((), (Tool("other"),)), OutputContract()),
        (ASKED, OutputContract(tool_choice=ToolChoice("none"))),
    ):
        reader = qwen.dialect.output_parser(conversation, contract)
        parts = ONE if template == JSON else xml(("city", "Bonn"))
        assert reader.feed(qwen.tokens("Hi", *parts)) + reader.flush(cut=False) == [TextDelta("Hi")]


PIECES = st.sampled_from(
    [
        *CONTROL[3:],
        *(
            '{"name": "get_weather", "arguments": ',
            '{"name": "',
            '"arguments": {"a": ',
            "{}",
            "}}",
            '"}',
            "[",
            "\\",
            "1,",
        ),
        *("\n<function=get_weather>\n", "<function=", "<parameter=city>\n", "<parameter=any>\n", "<parameter=", ">"),
        *('"' + "k" * 300, "n" * 300, '": ', '"name": "a-b.c_d"'),
        *("\n</parameter>\n", "</parameter>", "</function>\n", "null", "Tr", "-1", "\n", "\n\n", "Zü漢😀", "", " "),
    ]
)


@settings(max_examples=120, deadline=None)
@given(
    st.sampled_from([JSON, THINKS, XML]),
    st.lists(st.one_of(PIECES.map(lambda text: [text]), st.lists(st.integers(0, 255), max_size=4)), max_size=25),
    st.lists(st.integers(0, 150), max_size=20),
    st.sampled_from(["stop", "length"]),
)
def test_any_output_is_read_the_same_however_it_is_cut(
    template: str, pieces: list[list[Any]], cuts: list[int], reason: str
) -> None:
    qwen = checkpoint(template)
    token_ids = [
        token
        for piece in pieces
        for item in piece
        for token in (qwen.tokens(item) if isinstance(item, str) else [item])
    ] or qwen.tokens("x")
    answer = read(template, token_ids, reason=reason)
    assert read(template, token_ids, cuts, reason=reason) == answer
    assert read(template, token_ids, range(len(token_ids)), reason=reason) == answer
    assert answer["reason"] == ("tool_calls" if answer["calls"] and reason == "stop" else reason)
    assert reason == "length" or all(call["complete"] for call in answer["calls"])
    said = answer["text"] + answer["reasoning"] + "".join(call["arguments"] for call in answer["calls"])
    plain = "".join(text for piece in pieces for text in piece if isinstance(text, str) and text not in CONTROL)
    for marker in CONTROL:
        assert marker not in said or marker in plain


@settings(max_examples=80, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(sorted(PARAMETERS["properties"])),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=12).filter(lambda text: "</parameter>" not in text)
        | st.sampled_from(
            ["null", "True", "-3", "1e5", "12345678901234567890", "true", "\n", "NaN", "[1]", '{"a": "}"}']
        ),
        max_size=4,
    )
)
def test_arguments_of_tagged_texts_are_json_unless_a_value_claims_to_be(given_texts: dict[str, str]) -> None:
    qwen = checkpoint(XML)
    token_ids = qwen.tokens(*xml(*given_texts.items()))
    ((_, arguments),) = made(read(XML, token_ids))
    claims = {"list", "any", "where"}
    if not any(key in claims and text[:1] in ("{", "[") for key, text in given_texts.items()):
        parsed = json.loads(arguments)
        assert list(parsed) == list(given_texts)
        assert all(parsed[key] == text for key, text in given_texts.items() if key == "city")
