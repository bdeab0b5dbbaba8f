"""Functions as libraries and web services document them, by topic: one line each in library_lines/, whole lines held out.

    [topic]
    family | goal; other ways to say it | parameters, as in demo.training.domains | whole requests; of which some have none

The family gives the words around the goal. A kind that begins with `=` lists values that the declaration only mentions
as examples; a line in it stands for a blank. Descriptions of parameters are written so that "The" can stand before them.
A whole request has every required parameter as {name}.
"""

# ruff: noqa: E501 - tables

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

from demo.training.domains import Parameter, parameter


@dataclass(frozen=True)
class Family:
    """How functions of one family are named, described and asked for; {g} is the goal."""

    verbs: tuple[str, ...]
    descriptions: tuple[str, ...]
    heads: tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """A function of the library."""

    topic: str
    family: Family
    goals: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    sentences: tuple[str, ...]


FAMILIES = {
    "calc": Family(
        ("calculate", "compute", "get", "find", "calc", ""),
        ("Calculate the {g}", "Calculates the {g}", "Compute the {g}", "Computes the {g}", "Find the {g}", "Returns the {g}"),
        ("calculate the {g}", "what is the {g}", "find the {g}", "compute the {g}", "tell me the {g}", "determine the {g}",
         "what's the {g}", "I need the {g}", "what would be the {g}", "find out the {g}", "give me the {g}", "work out the {g}",
         "I want to know the {g}", "what will the {g} be", "get the {g}", "help me calculate the {g}", "how much is the {g}", "figure out the {g}"),
    ),
    "get": Family(
        ("get", "fetch", "retrieve", "find", "lookup", ""),
        ("Get the {g}", "Retrieve the {g}", "Fetches the {g}", "Returns the {g}", "Look up the {g}", "Retrieves the {g}"),
        ("get the {g}", "what is the {g}", "find the {g}", "show me the {g}", "tell me the {g}", "look up the {g}",
         "what's the {g}", "I want to know the {g}", "give me the {g}", "check the {g}", "I need the {g}", "retrieve the {g}",
         "find out the {g}", "let me know the {g}", "fetch the {g}", "can you get me the {g}", "I would like to see the {g}", "display the {g}"),
    ),
    "search": Family(
        ("search", "find", "list", "recommend", "get", ""),
        ("Search for {g}", "Find {g}", "Finds {g}", "Searches for {g}", "Recommend {g}", "Returns a list of {g}"),
        ("find {g}", "search for {g}", "look for {g}", "show me {g}", "find me {g}", "are there any {g}",
         "I need {g}", "recommend {g}", "I am looking for {g}", "list {g}", "get me {g}", "what are some {g}",
         "I want {g}", "suggest {g}", "can you find {g}", "help me find {g}", "which {g} are there", "give me a list of {g}"),
    ),
    "make": Family(
        ("create", "make", "add", "new", "generate", "set_up"),
        ("Create {g}", "Creates {g}", "Make {g}", "Add {g}", "Generates {g}", "Sets up {g}"),
        ("create {g}", "make {g}", "I need {g}", "set up {g}", "add {g}", "prepare {g}",
         "please make {g}", "I want {g}", "generate {g}", "I want to create {g}", "build {g}", "could you set up {g}",
         "let us make {g}", "I would like {g}", "help me create {g}", "put together {g}", "can I have {g}", "I want to add {g}"),
    ),
    "book": Family(
        ("book", "reserve", "order", "schedule", "make_booking_of", "request"),
        ("Book {g}", "Reserve {g}", "Books {g}", "Reserves {g}", "Makes a reservation of {g}", "Order {g}"),
        ("book {g}", "reserve {g}", "I need {g}", "book me {g}", "order {g}", "get me {g}",
         "I want to book {g}", "please reserve {g}", "I would like {g}", "make a reservation for {g}", "arrange {g}", "schedule {g}",
         "help me book {g}", "can I get {g}", "find and book {g}", "I want {g}", "I am looking to book {g}", "set up {g}"),
    ),
    "do": Family(("",), ("{g}",), ("{g}",)),  # the goal is a whole order
}  # fmt: skip

# In this order: a line's place among all says whether it is held out, so new lines come last.
FILES = (
    "common", "science", "world", "machines", "people", "business", "culture", "house", "money", "nature", "public", "work",
    "journeys", "numbers", "lookups", "agents", "calculations", "services",
)  # fmt: skip

_EMPTY = frozenset("a an the of to in on for from by with its some between two another near or who went it".split())  # noqa: SIM905


def content_words(goal: str) -> list[str]:
    """The words that tell what is meant."""
    return [word for word in re.findall(r"[a-z0-9]+", goal.lower()) if word not in _EMPTY]


def _entries(name: str) -> Iterator[Entry]:
    topic = ""
    for line in (resources.files("demo.training") / "library_lines" / f"{name}.txt").read_text("utf-8").splitlines():
        if line.startswith("["):
            topic = line.strip("[]")
        elif line:
            yield _entry(topic, line)


def _entry(topic: str, line: str) -> Entry:
    family, goals, parameters, *more = (part.strip() for part in line.split(" | "))
    sentences = tuple(more[0].split("; ")) if more else ()
    return Entry(
        topic, FAMILIES[family], tuple(goals.split("; ")), tuple(map(parameter, parameters.split(" ~ "))), sentences
    )


LIBRARY = tuple(entry for name in FILES for entry in _entries(name))
