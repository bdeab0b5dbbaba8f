"""Apertus' output as events: calls as one array, every order of markers, every cut, and what must never leave."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.dialect_answers import read_answer, without_ids
from support.dialect_checkpoints import DATA, apertus

from server.conversation import Conversation, Message, OutputContract, Tool
from server.dialects.apertus_parser import ApertusParser
from server.dialects.apertus_tokens import ApertusTokens
from server.events import TextDelta, ToolCallArguments

NAMES = ("get_weather", "a-b.c_d", "wetter_für", 'q"uote')


@pytest.fixture(scope="module", name="family")
def _family(tmp_path_factory: pytest.TempPathFactory) -> "Family":
    return Family(tmp_path_factory)


class Family:
    """The tokens by short names, and parsers."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        template = (DATA / "apertus" / "chat_template.jinja").read_text("utf-8")
        self.tokenizer, self.dialect = apertus(factory.mktemp("checkpoint"), template)
        self.tokens = tokens = ApertusTokens.of(self.tokenizer.control_tokens)
        self.end = self.tokenizer.control_tokens["<|assistant_end|>"]
        self.short = {
            "<S>": tokens.calls_begin,
            "</S>": tokens.calls_end,
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

    def parser(self, *, most: int | None = None) -> ApertusParser:
        return ApertusParser(self.tokenizer, self.tokens, names=frozenset(NAMES), max_calls=most)

    def read(
        self,
        token_ids: Sequence[int],
        cuts: Sequence[int] = (),
        reason: Any = "stop",
        stop: int | None = None,
        **how: Any,
    ) -> dict[str, Any]:
        stop = self.end if stop is None else stop
        return without_ids(
            read_answer(self.parser(**how), self.tokenizer, token_ids, stop=stop, cuts=cuts, reason=reason)
        )


JSON = '{"city": "Zürich }\\"]", "l": [{}]}'
W, A = ("get_weather", JSON), ("a-b.c_d", "{}")
ONE = f'{{"get_weather": {JSON}}}'
CASES: dict[str, tuple[tuple[str, ...], str, str, list[tuple[str, str]]]] = {
    "a call": (("<S>", f"[{ONE}]", "</S>"), "", "", [W]),
    "two calls": (("<S>", f'[{ONE}, {{"a-b.c_d": {{}}}}]', "</S>"), "", "", [W, A]),
    "without blanks": (("<S>", f'[{ONE},{{"a-b.c_d":{{}}}}]', "</S>"), "", "", [W, A]),
    "with blanks": (("<S>", f'\n [ {ONE} ,\n {{ "a-b.c_d" : {{}} }} ] ', "</S>"), "", "", [W, A]),
    "two calls in one object": (("<S>", f'[{{"get_weather": {JSON}, "a-b.c_d": {{}}}}]', "</S>"), "", "", [W, A]),
    "no array": (("<S>", ONE, "</S>"), "", "", [W]),
    "two arrays": (("<S>", f"[{ONE}]", "</S>", "\n", "<S>", '[{"a-b.c_d": {}}]', "</S>"), "", "", [W, A]),
    "text before, noise behind": (("Let me see.", "<S>", f"[{ONE}]", "</S>", " noise"), "Let me see.", "", [W]),
    "an array that ends with the answer": (("<S>", f"[{ONE}]"), "", "", [W]),
    "an array that does not end": (("<S>", f"[{ONE}"), "", "", [W]),
    "only a name": (("<S>", '[{"get_weather"}]', "</S>"), "", "", [("get_weather", "{}")]),
    "no arguments": (("<S>", '[{"get_weather": null}, {"a-b.c_d": {}}]'), "", "", [("get_weather", "{}"), A]),
    "text as arguments": (("<S>", '[{"get_weather": "}{"}, {"a-b.c_d": {}}]'), "", "", [("get_weather", "{}"), A]),
    "a list as arguments": (("<S>", '[{"get_weather": [{}]}, {"a-b.c_d": {}}]'), "", "", [("get_weather", "{}"), A]),
    "a Unicode name": (("<S>", '[{"wetter_für": {}}]'), "", "", [("wetter_für", "{}")]),
    "an escaped name": (("<S>", '[{"wetter_f\\u00fcr": {}}]'), "", "", [("wetter_für", "{}")]),
    "a quote in a name": (("<S>", '[{"q\\"uote": {}}]'), "", "", [('q"uote', "{}")]),
    "an undeclared name": (("Hm", "<S>", f'[{{"other": {JSON}}}, {ONE}]', "</S>"), "Hm", "", [W]),
    "an endless name": (("<S>", '[{"' + "get_weather" * 99 + '": {}}]', "</S>"), "", "", []),
    "a name that is no JSON": (("<S>", '[{"\\x": {}}, {"a-b.c_d": {}}]', "</S>"), "", "", [A]),
    "thoughts": (("<T>", "Hm.", "</T>", "Yes."), "Yes.", "Hm.", []),
    "thoughts and a call": (("<T>", "Hm.", "</T>", "<S>", f"[{ONE}]", "</S>"), "", "Hm.", [W]),
    "a call within thoughts": (("<T>", "Hm.", "<S>", f"[{ONE}]", "</S>", "</T>", "x"), "", "Hm.", [W]),
    "stray markers": (("a", "</S>", "b", "</T>", "c"), "abc", "", []),
    "an empty array": (("a", "<S>", "[]", "</S>"), "a", "", []),
    "nothing": ((), "", "", []),
}


@pytest.mark.parametrize(("parts", "text", "reasoning", "made"), CASES.values(), ids=CASES)
def test_what_a_client_gets(
    parts: tuple[str, ...], text: str, reasoning: str, made: list[tuple[str, str]], family: Family
) -> None:
    token_ids = family.encode(*parts)
    answer = family.read(token_ids)
    assert (answer["text"], answer["reasoning"]) == (text, reasoning)
    assert [(call["name"], call["arguments"]) for call in answer["calls"]] == made
    assert answer["reason"] == ("tool_calls" if made else "stop")
    assert all(call["complete"] for call in answer["calls"])
    for cut in range(1, len(token_ids) + 1):
        assert family.read(token_ids, (cut,)) == answer
    assert family.read(token_ids, range(len(token_ids) + 1)) == answer


def test_the_end_of_calls_ends_answers(family: Family) -> None:
    answer = family.read(family.encode("<S>", f"[{ONE}]"), stop=family.tokens.calls_end)
    assert [(call["name"], call["arguments"], call["complete"]) for call in answer["calls"]] == [(*W, True)]
    assert answer["reason"] == "tool_calls"


def test_calls_can_be_limited(family: Family) -> None:
    answer = family.read(family.encode("<S>", f'[{ONE}, {{"a-b.c_d": {{}}}}]', "</S>"), most=1)
    assert [call["name"] for call in answer["calls"]] == ["get_weather"]
    assert answer["calls"][0]["arguments"] == JSON


def test_a_cut_answer_keeps_what_was_made(family: Family) -> None:
    whole = family.encode("Well. ", "<S>", f"[{ONE}]")
    for kept in range(1, len(whole)):
        answer = family.read(whole[:kept], reason="length")
        assert answer["reason"] == "length"
        assert "Well. ".startswith(answer["text"])
        for call in answer["calls"]:
            arguments = call["arguments"].rstrip("\ufffd")
            assert JSON.startswith(arguments)
            assert call["complete"] is (arguments == JSON)


def test_arguments_are_streamed_as_they_are_made(family: Family) -> None:
    reader = family.parser()
    reader.feed(family.encode("<S>", '[{"get_weather": '))
    for token in family.tokenizer.encode('{"city": "Rome"'):
        deltas = reader.feed([token])
        assert isinstance(deltas[-1], ToolCallArguments)
        assert deltas[-1].delta == family.tokenizer.token_bytes(token).decode()


@settings(max_examples=150)
@given(data=st.data())
def test_any_output_is_read_the_same_however_it_is_cut(family: Family, data: st.DataObject) -> None:
    encode = family.tokenizer.encode
    piece = st.one_of(
        st.sampled_from([[token] for token in family.short.values()]),
        st.sampled_from(['[{"get_weather": ', '"a-b.c_d"', '"other": ', ", ", "}", "]", '"']).map(encode),
        st.sampled_from(['{"a": 1}', "{}", '{"b": []}}]', " ", '{"a', '"}', "\\", "Zü漢😀"]).map(encode),
        st.lists(st.integers(0, family.tokenizer.vocab_size - 1), max_size=4),
    )
    pieces = data.draw(st.lists(piece, max_size=25))
    token_ids = [token for one in pieces for token in one if token != family.end] or encode("x")
    cuts = data.draw(st.lists(st.integers(0, 120), max_size=20))
    reason = data.draw(st.sampled_from(["stop", "length"]))
    answer = family.read(token_ids, reason=reason)
    assert family.read(token_ids, cuts, reason=reason) == answer
    assert family.read(token_ids, range(len(token_ids)), reason=reason) == answer
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


def test_without_tools_calls_are_noise(family: Family) -> None:
    for declared in ((), (Tool("other"),)):
        reader = family.dialect.output_parser(Conversation((Message("user", "Q"),), tools=declared), OutputContract())
        said = family.encode("Hi", "<S>", f"[{ONE}]", "</S>")
        assert reader.feed(said) + reader.flush(cut=False) == [TextDelta("Hi")]
