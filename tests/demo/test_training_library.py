"""The library's functions: declared rightly, asked for in ways that say every value, and held out by the line."""

import re
from typing import Any

import pytest

from demo.training.chance import Chance, Part
from demo.training.library import LIBRARY, content_words
from demo.training.library_slots import TEXT_MAKERS
from demo.training.library_tools import library_action, short_goal
from demo.training.tool_talk import alike
from demo.training.tools import Action, any_request, make_request, make_requests, message, placeholders, said_in_turn
from server.conversation import Tool

COUNT = 5000
TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str, "integer": int, "number": (int, float), "boolean": bool, "array": list,
}  # fmt: skip


def actions(part: Part, seed: int = 31) -> list[Action]:
    chance = Chance(seed, part)
    return [library_action(chance) for _ in range(COUNT)]


@pytest.fixture
def no_other_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions are trained on as the library has them."""
    monkeypatch.setattr("demo.training.renaming.RENAMED_SHARE", 0)


@pytest.mark.usefixtures("no_other_words")
def test_no_line_is_used_in_both_parts() -> None:
    goals = {part: {action.goals[-1] for action in actions(part)} for part in ("train", "held_out")}
    assert len(goals["train"]) > len(LIBRARY) / 2
    assert not goals["train"] & goals["held_out"]


def test_no_two_lines_have_one_goal() -> None:
    assert len({entry.goals[0] for entry in LIBRARY}) == len(LIBRARY)
    assert all(content_words(entry.goals[0]) for entry in LIBRARY)


def test_whole_requests_mention_what_is_required() -> None:
    assert sum(bool(entry.sentences) for entry in LIBRARY) > len(LIBRARY) / 2
    for entry in LIBRARY:
        known = {one.name for one in entry.parameters if one.kind != "flag"}
        required = {one.name for one in entry.parameters if one.required}
        for sentence in entry.sentences:
            mentioned = placeholders(sentence)
            assert len(set(mentioned)) == len(mentioned), sentence
            assert required <= set(mentioned) <= known, sentence


def test_a_whole_request_says_its_texts_and_gives_what_it_mentions() -> None:
    chance, whole = Chance(45, "train"), 0
    for action in actions("train"):
        request = any_request(chance, action)
        whole += request.whole
        required = (action.tool.parameters or {})["required"]
        assert set(required) <= set(request.arguments)
        for value in request.arguments.values():
            assert not isinstance(value, str) or value in request.said
        assert not request.whole or message(chance, request) == request.said
    assert whole > COUNT / 5


def test_every_parameter_has_phrases_for_its_value() -> None:
    for entry in LIBRARY:
        assert any(one.required for one in entry.parameters)
        for one in entry.parameters:
            assert one.kind == "flag" or all("{v}" in phrase for phrase in one.phrases), (entry.goals[0], one.name)


def test_arguments_have_the_declared_types() -> None:
    chance = Chance(33, "train")
    for action in actions("train"):
        properties = (action.tool.parameters or {})["properties"]
        for name, value in make_request(chance, action).arguments.items():
            assert isinstance(value, TYPES[properties[name]["type"]]), (action.tool.name, name, value)


def test_a_request_says_every_text_that_is_an_argument() -> None:
    chance = Chance(35, "train")
    for action in actions("train"):
        request = make_request(chance, action)
        for value in request.arguments.values():
            if isinstance(value, str):
                assert value in request.said


@pytest.mark.usefixtures("no_other_words")
def test_a_short_goal_leaves_out_what_the_value_says() -> None:
    short = {short_goal(entry) for entry in LIBRARY}
    assert {action.goals[0] for action in actions("train", 37)} <= short
    assert "stock price" in short
    assert "area of a circle" in short  # which shape it is, no value says


def test_values_of_uses_said_in_turn_are_all_said() -> None:
    chance = Chance(39, "train")
    for action in actions("train")[:100]:
        requests = [make_request(chance, action) for _ in range(2)]
        said = said_in_turn(chance, requests)
        assert all(request.tail in said for request in requests)
        uses, together = make_requests(chance, action, 2)
        assert len(uses) == 2
        assert together.said


@pytest.mark.parametrize("kind", TEXT_MAKERS)
def test_texts_are_said_as_they_are(kind: str) -> None:
    chance = Chance(41, "train")
    for _ in range(50):
        value, said = TEXT_MAKERS[kind](chance)
        assert re.sub("'", "", said) == value.replace("'", "")


def one(**fields: Any) -> Action:
    return Action(Tool("a"), fields.pop("verb", None), fields.pop("thing"), (), **fields)


def test_tools_that_could_be_meant_by_one_request_are_alike() -> None:
    assert alike(one(thing="weather temperature forecast"), one(thing="forecast weather"))
    assert alike(one(thing="hotel room stay"), one(thing="hotels", topic="travel", goals=("hotels in a city",)))
    assert not alike(one(thing="user create account"), one(thing="user delete account"))
    assert not alike(one(thing="area triangle", topic="geometry"), one(thing="area circle", topic="geometry"))
    assert alike(one(verb=1, thing="report"), one(verb=1, thing="report"))
    assert not alike(one(verb=1, thing="report"), one(verb=2, thing="report"))
