"""What Qwen's output must match: random walks keep every promise, and what the templates write of earlier calls is
admitted and read back."""

import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.qwen_checkpoints import PUBLISHED, QwenCheckpoint, check_calls, read, walk

from engine import Grammar
from server.conversation import AnswerFormat, Conversation, Message, OutputContract, Tool, ToolCall, ToolChoice

JSON, THINKS, XML = "chat_template.jinja", "chat_template.thinking.jinja", "coder_like.jinja"
PUBLISHED_TOKENIZER = pytest.param(
    True, id="published", marks=pytest.mark.skipif(not PUBLISHED.is_dir(), reason=f"needs the files in {PUBLISHED}")
)
TOKENIZERS = pytest.mark.parametrize("published", [pytest.param(False, id="tiny"), PUBLISHED_TOKENIZER])
BOTH = pytest.mark.parametrize("template", [JSON, XML])

PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "whole": {"type": "integer"},
        "number": {"type": "number"},
        "sure": {"type": "boolean"},
        "perhaps": {"type": ["string", "null"]},
        "either": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        "list": {"type": "array", "items": {"type": "string"}},
        "point": {"$ref": "#/$defs/point"},
    },
    "required": ["text"],
    "$defs": {"point": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}},
}
TOOLS = (
    Tool("write_file", parameters=PARAMETERS, where="tools[0].function.parameters"),
    Tool("a-b.c_d"),
    Tool("wetter:für", parameters={"type": "object", "properties": {"n": {"enum": ["Zürich", 1]}}, "required": ["n"]}),
)
ASKED = Conversation((Message("user", "x"),), TOOLS)
REQUIRED = OutputContract(tool_choice=ToolChoice("required"))
NAMES = {tool.name for tool in TOOLS}


@cache
def checkpoint(template: str, published: bool = False) -> QwenCheckpoint:
    with TemporaryDirectory() as folder:
        return QwenCheckpoint(Path(folder), template, published=published)


CHOICES: dict[str, tuple[OutputContract, set[str]]] = {
    "required": (REQUIRED, NAMES),
    "one call": (OutputContract(tool_choice=ToolChoice("required"), parallel_tool_calls=False), NAMES),
    "named": (OutputContract(tool_choice=ToolChoice("required", ("wetter:für",))), {"wetter:für"}),
    "allowed": (OutputContract(tool_choice=ToolChoice("required", ("wetter:für", "a-b.c_d"))), NAMES - {"write_file"}),
}


@BOTH
@pytest.mark.parametrize("case", CHOICES)
def test_forced_calls(template: str, case: str) -> None:
    qwen = checkpoint(template)
    contract, names = CHOICES[case]
    off = Conversation(ASKED.messages, TOOLS, reasoning=False)
    grammar = qwen.dialect.grammar(off, contract)
    assert grammar is not None
    assert (grammar.begin_with, grammar.begin_after) == ((), ())
    most = 0
    for seed in range(10):
        answer = read(qwen, walk(qwen, grammar, seed), off, contract)
        assert (answer["text"], answer["reason"]) == ("", "tool_calls")
        check_calls(answer, TOOLS, names)
        most = max(most, len(answer["calls"]))
    assert (most == 1) is (not contract.parallel_tool_calls)


@BOTH
def test_auto_begins_with_the_marker(template: str) -> None:
    qwen = checkpoint(template)
    grammar = qwen.dialect.grammar(ASKED, OutputContract())
    assert grammar is not None
    assert grammar.begin_with == (qwen.control["<tool_call>"],)
    assert grammar.begin_after == ()
    assert grammar.forbidden == (qwen.control["</tool_call>"],)
    for seed in range(5):
        answer = read(qwen, walk(qwen, grammar, seed, ("<tool_call>",)), ASKED, OutputContract())
        assert answer["calls"]
        check_calls(answer, TOOLS)


@BOTH
def test_none_forbids_the_markers_and_nothing_to_call_needs_no_grammar(template: str) -> None:
    qwen = checkpoint(template)
    none = OutputContract(tool_choice=ToolChoice("none"))
    grammar = qwen.dialect.grammar(ASKED, none)
    markers = (qwen.control["<tool_call>"], qwen.control["</tool_call>"])
    assert grammar == Grammar(None, forbidden=markers)
    earlier = Message("assistant", tool_calls=(ToolCall("x", "f", "{}"),))
    assert qwen.dialect.grammar(Conversation((*ASKED.messages, earlier)), none) == grammar
    assert qwen.dialect.grammar(Conversation(ASKED.messages), none) is None


COLOUR = AnswerFormat("choice", choices=("red", "\nblue"), where="guided_choice")


@BOTH
def test_a_call_or_the_format(template: str) -> None:
    qwen = checkpoint(template)
    contract = OutputContract(format=COLOUR)
    off = Conversation(ASKED.messages, TOOLS, reasoning=False)
    grammar = qwen.dialect.grammar(off, contract)
    assert grammar is not None
    seen = set()
    for seed in range(16):
        answer = read(qwen, walk(qwen, grammar, seed), off, contract)
        check_calls(answer, TOOLS)
        assert answer["text"] in (("",) if answer["calls"] else ("red", "\nblue"))
        seen.add(bool(answer["calls"]))
    assert seen == {True, False}


def test_behind_the_thoughts_that_the_prompt_opened() -> None:
    qwen = checkpoint(THINKS)
    end_think, call = qwen.control["</think>"], qwen.control["<tool_call>"]
    contract = OutputContract(format=COLOUR)
    grammar = qwen.dialect.grammar(ASKED, contract)
    assert grammar is not None
    assert (grammar.begin_after, grammar.begin_with) == ((end_think,), (call,))
    assert {qwen.end, qwen.control["<|endoftext|>"]} <= set(grammar.forbidden)
    thoughts = ("Hm.\n", "</think>", "\n\n")
    call_parts = ("<tool_call>", '\n{"name": "a-b.c_d", "arguments": {}}\n', "</tool_call>")
    for parts, admitted in (
        ((*thoughts, "red"), True),
        ((*thoughts, "\nblue"), True),
        (("Hm.\n", "</think>", "\nblue"), False),  # else nobody could tell whose newline it is
        ((*thoughts, *call_parts), True),
        (("Hm.\n", "</think>", *call_parts), True),
        (("Hm.\n", *call_parts), True),
        ((*thoughts, "green"), False),
    ):
        said = qwen.tokens(*parts)
        assert qwen.admits(ASKED, contract, said) is admitted, parts
        if admitted:
            answer = read(qwen, said, ASKED, contract)
            assert answer["text"] == ("" if answer["calls"] else parts[-1])


def test_thoughts_that_the_model_may_open() -> None:
    qwen = checkpoint(JSON)
    call_parts = ("<tool_call>", '\n{"name": "a-b.c_d", "arguments": {}}\n', "</tool_call>")
    for before in ((), ("<think>", "\nHm. <|im_end|>\n", "</think>", "\n\n"), ("<think>", "\nHm.\n")):
        said = qwen.tokens(*before, *call_parts)
        assert qwen.admits(ASKED, REQUIRED, said), before
        assert read(qwen, said, ASKED, REQUIRED)["calls"]
    assert not qwen.admits(ASKED, REQUIRED, qwen.tokens("Hello"))
    assert not qwen.admits(ASKED, REQUIRED, qwen.tokens("<think>", "x", "</think>", "\n\n", "Hello"))
    off = Conversation(ASKED.messages, TOOLS, reasoning=False)
    assert not qwen.admits(off, REQUIRED, qwen.tokens("<think>", "x", "</think>", "\n\n", *call_parts))


# The engine's JSON has U+007F as an escape only; Python writes it as it is.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f"), max_size=20)
LINES = st.lists(TEXT | st.sampled_from(["</par", "<", "</tool_call>", "null", "{", "5"]), max_size=4).map("\n".join)


def writable(text: str) -> bool:
    """Whether a tagged text can say it: not what would end the parameter."""
    return not text.startswith("</parameter>") and "\n</parameter>" not in text


ARGUMENTS = st.fixed_dictionaries(
    {"text": LINES.filter(writable)},
    optional={
        "whole": st.integers(-(10**15), 10**15),
        "number": st.integers(-1000, 1000).map(lambda number: number / 8),
        "sure": st.booleans(),
        "perhaps": st.none() | LINES.filter(writable).filter(lambda text: text not in ("null", "None")),
        "either": st.integers(-(10**15), 10**15) | st.just("five") | st.just("5 km"),
        "list": st.lists(LINES, max_size=3),
        "point": st.fixed_dictionaries({"x": st.integers(-5, 5)}),
    },
).map(lambda given: {key: given[key] for key in PARAMETERS["properties"] if key in given})
CALLS = st.lists(
    ARGUMENTS.map(lambda arguments: ("write_file", arguments))
    | st.sampled_from([("a-b.c_d", {}), ("wetter:für", {"n": "Zürich"}), ("wetter:für", {"n": 1})]),
    min_size=1,
    max_size=3,
)


@TOKENIZERS
@pytest.mark.parametrize("template", [JSON, THINKS, XML])
@settings(max_examples=20, deadline=None)
@given(
    calls=CALLS,
    content=st.sampled_from(["", "Let me see.", "Zwei\n\nZeilen"]),
    thoughts=st.sampled_from(["", "Hm.", "a\n\nb"]),
)
def test_what_the_template_writes_is_admitted_and_read_back(
    template: str, published: bool, calls: list[tuple[str, Any]], content: str, thoughts: str
) -> None:
    assume(thoughts or template != THINKS)  # the newlines of prompt and answer would be one token
    qwen = checkpoint(template, published)
    made = tuple(
        ToolCall(f"call_{n}", name, json.dumps(arguments, ensure_ascii=False))
        for n, (name, arguments) in enumerate(calls)
    )
    reasoning = None if template == XML else thoughts
    turn = qwen.turn(ASKED, Message("assistant", content, reasoning=reasoning, tool_calls=made))
    assert qwen.admits(ASKED, OutputContract(), turn)
    assert qwen.admits(ASKED, REQUIRED, turn) is (content == "")
    for contract in (OutputContract(), REQUIRED):
        answer = read(qwen, turn, ASKED, contract)
        assert [(call["name"], json.loads(call["arguments"])) for call in answer["calls"]] == calls
        assert answer["text"] == content
        assert answer["reasoning"] == (reasoning or "")
