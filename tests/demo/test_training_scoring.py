"""What counts as a right answer."""

import json
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest

from demo.evaluate import MARKS, TARGETS, by_manner, held_out, questions_of, score, table, write_card
from demo.training.answering import Answer
from demo.training.curve import draw
from demo.training.scoring import bfcl_match, quotes, same_calls
from server.conversation import Conversation, Message, ToolCall

CALL = Message("assistant", tool_calls=(ToolCall("functions.f:0", "f", '{"a":1,"b":["x"]}'),))


@pytest.mark.parametrize(
    ("arguments", "right"),
    [('{"b": ["x"], "a": 1}', True), ('{"a":2,"b":["x"]}', False), ("{", False), ("", False)],
)
def test_arguments_are_compared_as_json(arguments: str, right: bool) -> None:
    assert same_calls(Answer("", (("f", arguments),), True), CALL) is right


@pytest.mark.parametrize(
    ("text", "right"), [("The a is 1 and x, y.", True), ("The a is 1 and x.", False), ("a 1", False)]
)
def test_every_value_of_a_result_must_be_quoted(text: str, right: bool) -> None:
    assert quotes(Answer(text, (), True), ['{"a":1,"b":["x","y"]}']) is right


@pytest.mark.parametrize(
    ("call", "right"),
    [
        (("math_f", '{"x":4}'), True),
        (("math_f", '{"x":4,"s":"New york"}'), True),
        (("math_f", '{"x":4,"s":"Rome"}'), False),
        (("math_f", '{"s":"New York"}'), False),
        (("math_f", '{"x":4,"y":1}'), False),
        (("g", '{"x":4}'), False),
    ],
)
def test_bfcl_rules(call: tuple[str, str], right: bool) -> None:
    truth = [{"math.f": {"x": [4, 4.0], "s": ["New York", ""]}}]
    assert bfcl_match(Answer("", (call,), True), truth, {"math_f": "math.f"}) is right


def test_a_perfect_answer_is_right_everywhere() -> None:
    for example in held_out(4):
        for question in questions_of(example):
            calls = tuple((call.name, call.arguments) for call in question.reference.tool_calls)
            answer = Answer(question.reference.content, calls, True, question.reference.reasoning or "")
            assert all(right for _, right in score(question, answer)), question


class Silent:
    """Answers nothing."""

    def answer(self, conversations: Sequence[Conversation]) -> list[Answer]:
        return [Answer("", (), True) for _ in conversations]


def test_single_calls_are_told_apart_by_the_kind_of_tool_and_request() -> None:
    scores = by_manner(Silent(), 200)
    assert len(scores) == 4
    assert sum(map(len, scores.values())) == 200
    assert not any(map(any, scores.values()))


def test_the_table_gives_shares_beside_what_is_wanted() -> None:
    scores = {name: [True] for name in TARGETS} | {"b": [True, False]}
    lines = table([scores, scores | {"b": [False, False]}]).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert "| b |  | 50.0% | 0.0% | 2 |" in lines
    assert "| ends its turn | 99% | 100.0% | 100.0% | 1 |" in lines


def test_the_card_is_written_between_its_marks(tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    card.write_text(f"before\n{MARKS[0]}\nold\n{MARKS[1]}\nafter\n")
    for _ in range(2):
        write_card(card, "new")
    assert card.read_text() == f"before\n{MARKS[0]}\nnew\n{MARKS[1]}\nafter\n"


def test_the_curve_is_a_picture(tmp_path: Path) -> None:
    lines = [{"tokens": 10, "loss": 2.5}, {"tokens": 20, "exact": {"first": 0.5}}, {"tokens": 40, "loss": 0.3}]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, lines)))
    draw(tmp_path / "log.jsonl", tmp_path / "curve.svg")
    picture = ElementTree.parse(tmp_path / "curve.svg").getroot()
    assert [len(line.attrib["points"].split()) for line in picture.iter("{http://www.w3.org/2000/svg}polyline")] == [
        2,
        1,
    ]
