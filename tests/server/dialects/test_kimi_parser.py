"""Kimi's output as events: every order of markers, every cut, and what must never leave."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.dialect_answers import gathered, read_answer
from support.served import load_model

from engine import SamplingParams, StepOutput
from server.conversation import Conversation, OutputContract, Tool
from server.dialects.kimi_parser import KimiParser
from server.dialects.kimi_tokens import KimiTokens
from server.events import TextDelta, ToolCallArguments
from server.sequence import SequenceText

MODEL = load_model()
TOKENIZER = MODEL.tokenizer
# The first tokenizers had no <think>: two of their spare tokens stand for it.
SPARE = [token for name, token in TOKENIZER.control_tokens.items() if "reserved" in name]
TOKENS = replace(KimiTokens.of(TOKENIZER.control_tokens), think=SPARE[0], end_think=SPARE[1])
END = TOKENIZER.control_tokens["<|im_end|>"]
NAMES = ("get_weather", "a-b.c_d", "wetter_für", "functions.x:1")
SHORT = {
    "<S>": TOKENS.section_begin,
    "</S>": TOKENS.section_end,
    "<C>": TOKENS.call_begin,
    "<A>": TOKENS.argument_begin,
    "</C>": TOKENS.call_end,
    "<T>": TOKENS.think,
    "</T>": TOKENS.end_think,
}


def tokens(*parts: str) -> list[int]:
    """Markers by their short names, anything else as text."""
    return [token for part in parts for token in ([SHORT[part]] if part in SHORT else TOKENIZER.encode(part))]


def parser(*, reasoning: bool = False, first: int = 0, most: int | None = None) -> KimiParser:
    names = frozenset(NAMES)
    return KimiParser(TOKENIZER, TOKENS, reasoning=reasoning, names=names, first_index=first, max_calls=most)


def read(token_ids: Sequence[int], cuts: Sequence[int] = (), reason: Any = "stop", **how: Any) -> dict[str, Any]:
    """What a client makes of the events, after checking their order."""
    return read_answer(parser(**how), TOKENIZER, token_ids, stop=END, cuts=cuts, reason=reason)


def calls(answer: dict[str, Any]) -> list[tuple[str, str]]:
    return [(call["id"], call["arguments"]) for call in answer["calls"]]


ONE = ("<C>", "functions.get_weather:0", "<A>", '{"city": "Zürich"}', "</C>")
W0 = ("functions.get_weather:0", '{"city": "Zürich"}')
CASES: dict[str, tuple[tuple[str, ...], str, str, list[tuple[str, str]]]] = {
    "a section": (("<S>", *ONE, "</S>"), "", "", [W0]),
    "text before, noise behind": (("Let me see. ", "<S>", *ONE, "</S>", " noise"), "Let me see. ", "", [W0]),
    "no section": (ONE, "", "", [W0]),
    "a section that does not end": (("<S>", *ONE), "", "", [W0]),
    "a call that lacks its end": (("<S>", *ONE[:-1], "</S>"), "", "", [W0]),
    "a call that ends with the answer": (("<S>", *ONE[:-1]), "", "", [W0]),
    "noise between calls": (
        ("<S>", "\n", *ONE, "\n", "<C>", "functions.a-b.c_d:1", "<A>", "{}", "</C>", "</S>"),
        "",
        "",
        [W0, ("functions.a-b.c_d:1", "{}")],
    ),
    "no arguments": (("<S>", "<C>", "functions.get_weather:0", "<A>", "</C>", "</S>"), "", "", [(W0[0], "{}")]),
    "blank arguments": (("<S>", "<C>", "functions.get_weather:0", "<A>", " \n", "</C>"), "", "", [(W0[0], "{}")]),
    "no arguments marker": (("<S>", "<C>", "functions.get_weather:0", "</C>", "</S>"), "", "", [(W0[0], "{}")]),
    "blanks around the id": (("<S>", "<C>", "\n functions.get_weather:0 \n", *ONE[2:]), "", "", [W0]),
    "another index": (("<S>", "<C>", "functions.get_weather:17", *ONE[2:]), "", "", [W0]),
    "no prefix": (("<S>", "<C>", "get_weather:3", *ONE[2:]), "", "", [W0]),
    "no index": (("<S>", "<C>", "functions.get_weather", *ONE[2:]), "", "", [W0]),
    "a Unicode name": (
        ("<S>", "<C>", "functions.wetter_für:0", "<A>", "{}", "</C>"),
        "",
        "",
        [("functions.wetter_für:0", "{}")],
    ),
    "a name like an id": (
        ("<S>", "<C>", "functions.functions.x:1:0", "<A>", "{}", "</C>"),
        "",
        "",
        [("functions.functions.x:1:0", "{}")],
    ),
    "an undeclared name": (("Hm", "<S>", "<C>", "functions.other:0", "<A>", "{}", "</C>", "</S>"), "Hm", "", []),
    "an endless id": (("<S>", "<C>", "functions.get_weather" * 50, "<A>", "{}", "</C>"), "", "", []),
    "thoughts": (("<T>", "Hm.", "</T>", "Yes."), "Yes.", "Hm.", []),
    "thoughts and a call": (("<T>", "Hm.", "</T>", "<S>", *ONE, "</S>"), "", "Hm.", [W0]),
    "a section within thoughts": (("<T>", "Hm.", "<S>", *ONE, "</S>"), "", "Hm.", [W0]),
    "a call within thoughts": (("<T>", "Hm.", *ONE), "", "Hm.", [W0]),
    "the end of thoughts behind a call": (("<T>", "Hm.", *ONE, "</T>", "x"), "", "Hm.", [W0]),
    "empty thoughts": (("<T>", "</T>", "Yes."), "Yes.", "", []),
    "stray markers": (("a", "</C>", "b", "<A>", "c", "</S>", "d", "</T>", "e"), "abcde", "", []),
    "nothing": ((), "", "", []),
}


@pytest.mark.parametrize(("parts", "text", "reasoning", "made"), CASES.values(), ids=CASES)
def test_what_a_client_gets(parts: tuple[str, ...], text: str, reasoning: str, made: list[tuple[str, str]]) -> None:
    token_ids = tokens(*parts)
    answer = read(token_ids)
    assert (answer["text"], answer["reasoning"], calls(answer)) == (text, reasoning, made)
    assert answer["reason"] == ("tool_calls" if made else "stop")
    assert all(call["complete"] for call in answer["calls"])
    for cut in range(1, len(token_ids) + 1):
        assert read(token_ids, (cut,)) == answer
    assert read(token_ids, range(len(token_ids) + 1)) == answer


def test_the_prompt_may_have_opened_the_thoughts() -> None:
    answer = read(tokens("Hm.", "</T>", "Yes."), reasoning=True)
    assert (answer["reasoning"], answer["text"]) == ("Hm.", "Yes.")
    assert answer["usage"].reasoning_tokens == len(tokens("Hm.", "</T>"))


def test_ids_go_on_counting_and_calls_can_be_limited() -> None:
    two = tokens("<S>", *ONE, *ONE, "</S>")
    assert [call["id"] for call in read(two, first=5)["calls"]] == [
        "functions.get_weather:5",
        "functions.get_weather:6",
    ]
    assert len(read(two, most=1)["calls"]) == 1


@pytest.mark.parametrize("kept", range(1, 30))
def test_a_cut_answer_keeps_what_was_made(kept: int) -> None:
    whole = tokens("Well. ", "<S>", *ONE)
    part = whole[: min(kept, len(whole) - 1)]
    answer = read(part, reason="length")
    assert answer["reason"] == "length"
    assert "Well. ".startswith(answer["text"])
    assert all(W0[1].startswith(call["arguments"].rstrip("\ufffd")) for call in answer["calls"])
    assert not any(call["complete"] for call in answer["calls"])


def test_arguments_are_streamed_as_they_are_made() -> None:
    reader = parser()
    reader.feed(tokens("<S>", *ONE[:3]))
    for token in tokens('{"city"'):
        (delta,) = reader.feed([token])
        assert isinstance(delta, ToolCallArguments)


def test_text_like_a_marker_is_not_held_back() -> None:
    reader, said = parser(), ""
    for token in tokens("Write <|tool_call_begin|> or <thi"):
        (delta,) = reader.feed([token])
        assert isinstance(delta, TextDelta)
        said += delta.text
    assert said == "Write <|tool_call_begin|> or <thi"


def test_stop_strings_do_not_look_into_calls_and_thoughts() -> None:
    sampling = SamplingParams(max_tokens=100, stop_token_ids=(END,))
    text = SequenceText(parser(), OutputContract(stop=("city", "Hm")), sampling, TOKENIZER, 1)
    answer = gathered(text.feed(StepOutput("x", [*tokens("<T>", "Hm.", "</T>", "Well, ci", "<S>", *ONE), END], "stop")))
    assert (answer["text"], answer["reasoning"], calls(answer)) == ("Well, ci", "Hm.", [W0])
    text = SequenceText(parser(), OutputContract(stop=("ll",)), sampling, TOKENIZER, 1)
    answer = gathered(text.feed(StepOutput("x", tokens("Well, ci", "<S>", *ONE))))
    assert (answer["text"], answer["calls"], answer["reason"]) == ("We", [], "stop")


PIECE = st.one_of(
    st.sampled_from([[token] for token in SHORT.values()]),
    st.sampled_from([TOKENIZER.encode(f"functions.{name}:0") for name in (*NAMES, "other")]),
    st.sampled_from(['{"a": 1}', "{}", "", " ", '{"a', "Zü漢😀"]).map(TOKENIZER.encode),
    st.lists(st.integers(0, TOKENIZER.vocab_size - 1), max_size=4),
)
STREAM = st.lists(PIECE, max_size=25).map(lambda pieces: [token for piece in pieces for token in piece])


@settings(max_examples=300)
@given(STREAM, st.lists(st.integers(0, 120), max_size=20), st.sampled_from(["stop", "length"]), st.booleans())
def test_any_output_is_read_the_same_however_it_is_cut(
    token_ids: list[int], cuts: list[int], reason: str, reasoning: bool
) -> None:
    token_ids = [token for token in token_ids if token != END] or tokens("x")
    answer = read(token_ids, reason=reason, reasoning=reasoning)
    assert read(token_ids, cuts, reason=reason, reasoning=reasoning) == answer
    assert read(token_ids, range(len(token_ids)), reason=reason, reasoning=reasoning) == answer
    assert answer["reason"] == ("tool_calls" if answer["calls"] and reason == "stop" else reason)
    for call in answer["calls"]:
        assert call["name"] in NAMES
        assert reason == "length" or call["complete"]
    assert [call["id"].rpartition(":")[2] for call in answer["calls"]] == [str(n) for n in range(len(answer["calls"]))]
    said = answer["text"] + answer["reasoning"] + "".join(call["arguments"] for call in answer["calls"])
    plain = b"".join(TOKENIZER.token_bytes(token) for token in token_ids if not TOKENIZER.is_control(token))
    for name in (*SHORT.values(), END):
        marker = TOKENIZER.token_bytes(name)
        assert marker not in said.encode() or marker in plain


def test_without_tools_calls_are_noise() -> None:
    dialect = MODEL.dialect
    for declared, contract in (((), OutputContract()), ((Tool("other"),), OutputContract())):
        reader = dialect.output_parser(Conversation((), tools=declared), contract)
        deltas = reader.feed(tokens("Hi", "<S>", *ONE, "</S>")) + reader.flush(cut=False)
        assert deltas == [TextDelta("Hi")]


def test_arguments_of_a_call_are_json() -> None:
    assert json.loads(read(tokens("<S>", *ONE, "</S>"))["calls"][0]["arguments"]) == {"city": "Zürich"}
