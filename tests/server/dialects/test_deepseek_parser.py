"""DeepSeek's output as events: both forms of calls, every order of markers, every cut, and what must never leave."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.dialect_answers import read_answer, without_ids
from support.dialect_checkpoints import DATA, deepseek

from server.conversation import Conversation, Message, OutputContract, Tool
from server.dialects.deepseek_parser import DeepSeekParser
from server.dialects.deepseek_tokens import DeepSeekTokens
from server.events import TextDelta, ToolCallArguments

NAMES = ("get_weather", "a-b.c_d", "wetter_für", "function")


@pytest.fixture(scope="module", name="family")
def _family(tmp_path_factory: pytest.TempPathFactory) -> "Family":
    return Family(tmp_path_factory)


class Family:
    """The tokens by short names, and parsers of both generations."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self.tokenizer, self.dialect = deepseek(
            factory.mktemp("v3"), (DATA / "deepseek" / "chat_template.v3.jinja").read_text("utf-8")
        )
        self.tokens = tokens = DeepSeekTokens.of(self.tokenizer.control_tokens)
        self.end = self.tokenizer.control_tokens["<｜end▁of▁sentence｜>"]
        self.short = {
            "<S>": tokens.calls_begin,
            "</S>": tokens.calls_end,
            "<C>": tokens.call_begin,
            "</C>": tokens.call_end,
            "<A>": tokens.separator,
            "<T>": tokens.think,
            "</T>": tokens.end_think,
        }

    def encode(self, *parts: str) -> list[int]:
        """Markers by their short names, anything else as text."""
        return [
            token
            for part in parts
            for token in ([self.short[part]] if part in self.short else self.tokenizer.encode(part))
        ]

    def parser(self, fenced: bool, *, reasoning: bool = False, most: int | None = None) -> DeepSeekParser:
        return DeepSeekParser(
            self.tokenizer, self.tokens, reasoning=reasoning, names=frozenset(NAMES), fenced=fenced, max_calls=most
        )

    def read(
        self, token_ids: Sequence[int], fenced: bool, cuts: Sequence[int] = (), reason: Any = "stop", **how: Any
    ) -> dict[str, Any]:
        parser = self.parser(fenced, **how)
        answer = read_answer(parser, self.tokenizer, token_ids, stop=self.end, cuts=cuts, reason=reason)
        return without_ids(answer)


JSON = '{"city": "Zürich }\\"` ```"}'
ONE = ("<C>", "function", "<A>", f"get_weather\n```json\n{JSON}\n```", "</C>")
TWO = ("<C>", "function", "<A>", "a-b.c_d\n```json\n{}\n```", "</C>")
ONE_BARE, TWO_BARE = ("<C>", "get_weather", "<A>", JSON, "</C>"), ("<C>", "a-b.c_d", "<A>", "{}", "</C>")
W, A, EMPTY = ("get_weather", JSON), ("a-b.c_d", "{}"), ("get_weather", "{}")
CASES: dict[str, tuple[bool, tuple[str, ...], str, str, list[tuple[str, str]]]] = {
    "a section": (True, ("<S>", *ONE, "</S>"), "", "", [W]),
    "two calls": (True, ("<S>", *ONE, "\n", *TWO, "</S>"), "", "", [W, A]),
    "text before, noise behind": (True, ("Let me see.", "<S>", *ONE, "</S>", " noise"), "Let me see.", "", [W]),
    "noise in a section": (True, ("a", "<S>", "b", *ONE, "c", "</S>", "d"), "a", "", [W]),
    "no section": (True, ONE, "", "", [W]),
    "a call that lacks its end": (True, ("<S>", *ONE[:-1], "</S>"), "", "", [W]),
    "a call that ends with the answer": (True, ("<S>", *ONE[:-1]), "", "", [W]),
    "no fence": (True, ("<S>", "<C>", "function", "<A>", f"get_weather\n{JSON}", "</C>"), "", "", [W]),
    "no closing fence": (True, ("<S>", *ONE[:3], f"get_weather\n```json\n{JSON}", "</C>"), "", "", [W]),
    "words around the arguments": (True, ("<S>", *ONE[:3], f"get_weather\nok: {JSON} done {{}}", "</C>"), "", "", [W]),
    "only a name": (True, ("<S>", *ONE[:3], "get_weather", "</C>", "</S>"), "", "", [EMPTY]),
    "an empty fence": (True, ("<S>", *ONE[:3], "get_weather\n```json\n\n```", "</C>"), "", "", [EMPTY]),
    "no JSON object": (True, ("<S>", *ONE[:3], "get_weather\n```json\n[1]\n```", "</C>"), "", "", [EMPTY]),
    "a tool of the type's name": (True, ("<S>", *ONE[:3], "function\n{}", "</C>"), "", "", [("function", "{}")]),
    "only a type": (True, ("<S>", "<C>", "function", "</C>", "</S>"), "", "", []),
    "a Unicode name": (True, ("<S>", *ONE[:3], "wetter_für\n{}", "</C>"), "", "", [("wetter_für", "{}")]),
    "an undeclared name": (True, ("Hm", "<S>", *ONE[:3], f"other\n```json\n{JSON}\n```", "</C>"), "Hm", "", []),
    "an endless name": (True, ("<S>", *ONE[:3], "get_weather" * 99 + "\n{}", "</C>"), "", "", []),
    "two separators": (True, ("<S>", *ONE[:3], "<A>", ONE[3], "</C>"), "", "", [W]),
    "thoughts": (True, ("<T>", "Hm.", "</T>", "Yes."), "Yes.", "Hm.", []),
    "thoughts and a call": (True, ("<T>", "Hm.", "</T>", "<S>", *ONE, "</S>"), "", "Hm.", [W]),
    "a section within thoughts": (True, ("<T>", "Hm.", "<S>", *ONE, "</S>", "</T>", "x"), "", "Hm.", [W]),
    "a call within thoughts": (True, ("<T>", "Hm.", *ONE), "", "Hm.", [W]),
    "stray markers": (True, ("a", "</C>", "b", "<A>", "c", "</S>", "d", "</T>", "e"), "abcde", "", []),
    "nothing": (True, (), "", "", []),
    "V3.1: a section": (False, ("<S>", *ONE_BARE, *TWO_BARE, "</S>"), "", "", [W, A]),
    "V3.1: text and thoughts": (False, ("<T>", "Hm", "</T>", "So", "<S>", *ONE_BARE, "</S>"), "So", "Hm", [W]),
    "V3.1: blanks around the name": (False, ("<S>", "<C>", " get_weather\n", *ONE_BARE[2:]), "", "", [W]),
    "V3.1: a fence": (False, ("<S>", "<C>", "get_weather", "<A>", f"```json\n{JSON}\n```", "</C>"), "", "", [W]),
    "V3.1: only a name": (False, ("<S>", "<C>", "get_weather", "</C>", "</S>"), "", "", [EMPTY]),
    "V3.1: no end": (False, ("<S>", *ONE_BARE[:-1]), "", "", [W]),
    "V3.1: an undeclared name": (False, ("<S>", "<C>", "other", *ONE_BARE[2:], "</S>"), "", "", []),
    "V3.1: a separator within": (False, ("<S>", *ONE_BARE[:3], JSON[:4], "<A>", JSON[4:]), "", "", [W]),
}


@pytest.mark.parametrize(("fenced", "parts", "text", "reasoning", "made"), CASES.values(), ids=CASES)
def test_what_a_client_gets(
    fenced: bool, parts: tuple[str, ...], text: str, reasoning: str, made: list[tuple[str, str]], family: Family
) -> None:
    token_ids = family.encode(*parts)
    answer = family.read(token_ids, fenced)
    assert (answer["text"], answer["reasoning"]) == (text, reasoning)
    assert [(call["name"], call["arguments"]) for call in answer["calls"]] == made
    assert answer["reason"] == ("tool_calls" if made else "stop")
    assert all(call["complete"] for call in answer["calls"])
    for cut in range(1, len(token_ids) + 1):
        assert family.read(token_ids, fenced, (cut,)) == answer
    assert family.read(token_ids, fenced, range(len(token_ids) + 1)) == answer


def test_the_prompt_may_have_opened_the_thoughts(family: Family) -> None:
    token_ids = family.encode("Hm.", "</T>", "Yes.")
    answer = family.read(token_ids, True, reasoning=True)
    assert (answer["reasoning"], answer["text"]) == ("Hm.", "Yes.")
    assert answer["usage"].reasoning_tokens == len(family.encode("Hm.", "</T>"))


def test_calls_can_be_limited(family: Family) -> None:
    assert len(family.read(family.encode("<S>", *ONE, *TWO, "</S>"), True, most=1)["calls"]) == 1


@pytest.mark.parametrize("fenced", [True, False])
def test_a_cut_answer_keeps_what_was_made(fenced: bool, family: Family) -> None:
    whole = family.encode("Well. ", "<S>", *(ONE if fenced else ONE_BARE))
    for kept in range(1, len(whole)):
        answer = family.read(whole[:kept], fenced, reason="length")
        assert answer["reason"] == "length"
        assert "Well. ".startswith(answer["text"])
        assert all(JSON.startswith(call["arguments"].rstrip("\ufffd")) for call in answer["calls"])
        assert not any(call["complete"] for call in answer["calls"])


@pytest.mark.parametrize("fenced", [True, False])
def test_arguments_are_streamed_as_they_are_made(fenced: bool, family: Family) -> None:
    reader = family.parser(fenced)
    reader.feed(family.encode("<S>", *((*ONE[:3], "get_weather\n```json\n") if fenced else ONE_BARE[:3])))
    for token in family.encode('{"city": "Rome"'):
        (delta,) = reader.feed([token])
        assert isinstance(delta, ToolCallArguments)
        assert delta.delta == family.tokenizer.token_bytes(token).decode()


@pytest.mark.parametrize("fenced", [True, False])
@settings(max_examples=150)
@given(data=st.data())
def test_any_output_is_read_the_same_however_it_is_cut(fenced: bool, family: Family, data: st.DataObject) -> None:
    encode = family.tokenizer.encode
    piece = st.one_of(
        st.sampled_from([[token] for token in family.short.values()]),
        st.sampled_from(["function", "get_weather\n", "get_weather", "other\n", *NAMES]).map(encode),
        st.sampled_from(['{"a": 1}', "{}", "```json\n", "\n```", " ", '{"a', '"}', "Zü漢😀"]).map(encode),
        st.lists(st.integers(0, family.tokenizer.vocab_size - 1), max_size=4),
    )
    pieces = data.draw(st.lists(piece, max_size=25))
    token_ids = [token for one in pieces for token in one if token != family.end] or family.encode("x")
    cuts = data.draw(st.lists(st.integers(0, 120), max_size=20))
    reason, reasoning = data.draw(st.sampled_from(["stop", "length"])), data.draw(st.booleans())
    answer = family.read(token_ids, fenced, reason=reason, reasoning=reasoning)
    assert family.read(token_ids, fenced, cuts, reason=reason, reasoning=reasoning) == answer
    assert family.read(token_ids, fenced, range(len(token_ids)), reason=reason, reasoning=reasoning) == answer
    assert answer["reason"] == ("tool_calls" if answer["calls"] and reason == "stop" else reason)
    for call in answer["calls"]:
        assert call["name"] in NAMES
        assert reason == "length" or call["complete"]
        assert call["arguments"][:1] in ("{", "")
    said = answer["text"] + answer["reasoning"] + "".join(call["arguments"] for call in answer["calls"])
    tokenizer = family.tokenizer
    plain = b"".join(tokenizer.token_bytes(token) for token in token_ids if not tokenizer.is_control(token))
    for name in tokenizer.control_tokens:
        assert name not in said or name.encode() in plain


def test_half_a_character_is_not_completed_behind_a_marker(family: Family) -> None:
    half, rest = "ü".encode()
    named = [*family.encode("<S>", "<C>", "get_weather"), half, *family.encode("<A>"), rest, *family.encode("{}")]
    assert family.read(named, False)["calls"] == []
    for cut in (True, False):
        reader = family.parser(True)
        assert reader.feed([half]) == []
        assert reader.flush(cut=cut) == [TextDelta("\ufffd")]


def test_without_tools_calls_are_noise(family: Family) -> None:
    for declared in ((), (Tool("other"),)):
        reader = family.dialect.output_parser(Conversation((Message("user", "Q"),), tools=declared), OutputContract())
        assert reader.feed(family.encode("Hi", "<S>", *ONE, "</S>")) + reader.flush(cut=False) == [TextDelta("Hi")]


def test_ids_are_like_openais(family: Family) -> None:
    parser = family.parser(True)
    answer = read_answer(parser, family.tokenizer, family.encode("<S>", *ONE, *TWO), stop=family.end)
    ids = [call["id"] for call in answer["calls"]]
    assert all(id.startswith("call_") and len(id) == 29 for id in ids)
    assert json.loads(answer["calls"][0]["arguments"]) == json.loads(JSON)
