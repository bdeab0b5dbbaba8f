"""Functions of the library under other words. A model that has seen a function often knows it, and does not look at how
it is declared; one whose words are others each time can only be found by the words of the request."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from demo.training.chance import Chance, part_of_place
from demo.training.domains import Parameter
from demo.training.library import LIBRARY, Entry, content_words
from demo.training.slots import any_word

RENAMED_SHARE = 0.4
GOAL_WORD_SHARE, NAME_WORD_SHARE = 0.6, 0.3
SHORTEST = 4  # letters of a word that is replaced


def at_times_renamed(chance: Chance, entry: Entry) -> Entry:
    """In training, at times with other words."""
    return renamed(chance, entry) if chance.part == "train" and chance.maybe(RENAMED_SHARE) else entry


def renamed(chance: Chance, entry: Entry) -> Entry:
    """The entry with some words of its goal and of its parameters' names replaced wherever they stand, in the singular
    or with an s. What is said without any of these is left out if the
    goal has other words: nobody could tell what it means."""
    words = _words(entry.goals[:1], GOAL_WORD_SHARE, chance)
    words |= _words([one.name for one in entry.parameters], NAME_WORD_SHARE, chance)
    new = Renaming(chance, sorted(words), {word for text in _texts(entry) for word in _found(text)})
    goals, sentences = entry.goals, entry.sentences
    if new.changes(goals[0]):
        goals = (goals[0], *filter(new.changes, goals[1:]))
        sentences = tuple(one for one in sentences if new.changes(re.sub(r"\{\w+\}", "", one)))
    return replace(
        entry,
        goals=tuple(map(new, goals)),
        parameters=tuple(_renamed(new, one) for one in entry.parameters),
        sentences=tuple(map(new, sentences)),
    )


class Renaming:
    """Words and what stands for them, each another one that is in none of the `taken`."""

    def __init__(self, chance: Chance, words: Sequence[str], taken: set[str]) -> None:
        self._new: dict[str, str] = {}
        for word in words:
            while (other := _another(chance)) in taken or len(other) < SHORTEST:
                pass
            taken.add(other)
            self._new[word] = other

    def __call__(self, text: str) -> str:
        return re.sub(r"[A-Za-z]+", lambda match: self._word(match[0]), text)

    def changes(self, text: str) -> bool:
        return self(text) != text

    def _word(self, word: str) -> str:
        new = self._new.get(_singular(word.lower()))
        if new is None:
            return word
        new += "s" * (word.lower() != _singular(word.lower()))
        return new.capitalize() if word[0].isupper() else new


def _renamed(new: Renaming, parameter: Parameter) -> Parameter:
    """A parameter with another name keeps the phrases with a new word."""
    phrases = parameter.phrases
    if new.changes(parameter.name):
        phrases = tuple(filter(new.changes, phrases))
    return replace(
        parameter, name=new(parameter.name), description=new(parameter.description), phrases=tuple(map(new, phrases))
    )


def _words(texts: Sequence[str], share: float, chance: Chance) -> set[str]:
    """Some of their words that tell what is meant."""
    found = sorted({_singular(word) for text in texts for word in content_words(text.replace("_", " "))})
    return {word for word in found if len(word) >= SHORTEST and word.isalpha() and chance.maybe(share)}


def _texts(entry: Entry) -> list[str]:
    said = [text for one in entry.parameters for text in (one.name, one.description, *one.phrases)]
    return [*entry.goals, *said, *entry.sentences]


def _found(text: str) -> set[str]:
    return {_singular(word) for word in re.findall(r"[a-z]+", text.lower())}


def _singular(word: str) -> str:
    return word.removesuffix("s") if len(word) > SHORTEST else word


def _another(chance: Chance) -> str:
    """Of the other functions, or any word. Its own s does not make it a plural."""
    return _singular(chance.choice(_words_of_all()) if chance.maybe(0.5) else any_word(chance))


@cache
def _words_of_all() -> list[str]:
    """The words of all functions that are trained on."""
    goals = [entry.goals[0] for place, entry in enumerate(LIBRARY) if part_of_place(place) == "train"]
    return sorted({word for goal in goals for word in content_words(goal) if len(word) >= SHORTEST and word.isalpha()})
