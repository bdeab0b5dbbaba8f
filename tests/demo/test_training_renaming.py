"""Functions under other words: the same function, still told apart from all others by what is said."""

import re

import pytest

from demo.training.chance import Chance
from demo.training.library import LIBRARY, Entry
from demo.training.library_tools import library_action
from demo.training.renaming import SHORTEST, renamed
from demo.training.tools import placeholders

PAIRS = [(entry, renamed(Chance(place, "train"), entry)) for place, entry in enumerate(LIBRARY[:1500])]


def words(entry: Entry) -> list[str]:
    """All that the declaration is made of, types and choices apart."""
    told = [f"{one.name} {one.description}" for one in entry.parameters]
    return re.split(r"[\W_]+", " ".join([entry.goals[0], *told]).lower())


def singular(word: str) -> str:
    return word.removesuffix("s") if len(word) > SHORTEST else word


def test_a_word_has_one_other_word_and_no_two_have_the_same() -> None:
    for old, new in PAIRS:
        pairs = {(singular(a), singular(b)) for a, b in zip(words(old), words(new), strict=True)}
        assert len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs), (old, new)


def test_most_have_another_word() -> None:
    assert sum(old.goals[0] != new.goals[0] for old, new in PAIRS) > len(PAIRS) / 2


def test_whole_requests_mention_its_parameters_and_say_another_word_of_its_goal() -> None:
    said = 0
    for old, new in PAIRS:
        names = {one.name for one in new.parameters}
        assert len(names) == len(old.parameters)
        assert all(set(placeholders(one)) <= names for one in new.sentences)
        if new.goals[0] == old.goals[0]:
            assert len(new.sentences) == len(old.sentences)
        else:
            assert not set(new.sentences) & set(old.sentences)
        said += len(new.sentences)
    assert said > len(PAIRS) / 4


def test_phrases_of_a_renamed_parameter_have_a_new_word() -> None:
    for old, new in PAIRS:
        for one, other in zip(old.parameters, new.parameters, strict=True):
            if one.name != other.name:
                assert not set(one.phrases) & set(other.phrases)


@pytest.mark.parametrize("seed", range(3))
def test_held_out_functions_are_as_they_are(seed: int) -> None:
    chance, goals = Chance(seed, "held_out"), {goal for entry in LIBRARY for goal in entry.goals}
    assert all(library_action(chance).goals[-1] in goals for _ in range(300))
