"""Parameters of the library's functions: their types, descriptions and values."""

# ruff: noqa: E501 - tables

from collections.abc import Callable
from functools import cache
from typing import Any

from demo.training import words
from demo.training.chance import Chance, part_of_place
from demo.training.domains import Parameter
from demo.training.library import LIBRARY
from demo.training.slots import MAKERS, Kind, Slot, Value, any_word, city, name_or_word, number, phrase, several

Maker = Callable[[Chance], Value]
BORROWED_SHARE = 0.3
_STATES = ("CA", "NY", "TX", "California", "Texas", "Ohio", "Canada", "UK", "Spain", "Illinois", "WA", "Italy")
_SUFFIXES = ("Corp", "Inc", "United", "Group", "Bank", "City", "Systems", "Motors", "Club", "Rovers", "Media", "Foods")
_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_FORMULAS = (
    "{a}{x}**2",
    "{x}**{a}",
    "{a}{x}^2 + {b}{x}",
    "{a}{x} + {b}",
    "sin({x})",
    "{x}**2 - {a}",
    "{a}*{x}**3",
    "{x}^{a} - {b}{x} + {a}",
)
_SPOKEN = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def _place(chance: Chance) -> Value:
    place = city(chance)[0]
    text = f"{place}, {chance.pick(_STATES)}" if chance.maybe(0.35) else place
    return text, text


def _company(chance: Chance) -> Value:
    word = name_or_word(chance, words.LAST_NAMES)
    text = f"{word} {chance.pick(_SUFFIXES)}" if chance.maybe(0.5) else word
    return text, text


def _long_date(chance: Chance) -> Value:
    """The way of writing it is kept: to change it is arithmetic."""
    day, month, year = chance.randint(1, 28), chance.randint(1, 12), chance.randint(2020, 2029)
    text = chance.choice(
        (
            f"{year}-{month:02}-{day:02}",
            f"{year}-{month:02}-{day:02}",
            f"{chance.pick(_MONTHS)} {day}, {year}",
            f"{month:02}/{day:02}/{year}",
        )
    )
    return text, text


def _count(chance: Chance) -> Value:
    value = chance.choice((chance.randint(1, 12), chance.randint(1, 60)))
    return value, _SPOKEN[value - 1] if value <= len(_SPOKEN) and chance.maybe(0.25) else str(value)


def _money(chance: Chance) -> Value:
    value = chance.choice(
        (chance.randint(1, 99), chance.randint(1, 99) * 10, chance.randint(1, 99) * 100, chance.randint(1, 99) * 1000)
    )
    said = f"{value:,}" if chance.maybe(0.15) else str(value)
    return value, chance.choice(("${}", "${}", "{} dollars", "{}")).format(said)


def _percent(chance: Chance) -> Value:
    value = chance.choice((chance.randint(1, 30), round(chance.uniform(0.5, 9.9), 1)))
    return value, chance.choice(("{}%", "{}%", "{} percent", "{}")).format(value)


def _fraction(chance: Chance) -> Value:
    return number(chance.choice((round(chance.uniform(0.1, 0.9), 1), round(chance.uniform(0.01, 0.99), 2))))


def _formula(chance: Chance) -> Value:
    text = chance.choice(_FORMULAS).format(a=chance.randint(2, 9), b=chance.randint(2, 9), x=chance.choice("xxxy"))
    return text, chance.choice(("{}", "'{}'")).format(text)


def _title(chance: Chance) -> Value:
    """A name of one to three words, with capitals."""
    text = " ".join(any_word(chance).capitalize() for _ in range(chance.randint(1, 3)))
    return text, chance.choice(("{}", "{}", "'{}'")).format(text)


def _sentence(chance: Chance) -> Value:
    text = phrase(chance, words.SENTENCES, 6)
    return text, text


def _street_address(chance: Chance) -> Value:
    text = f"{chance.randint(1, 999)} {name_or_word(chance, words.LAST_NAMES)} {chance.choice(('Street', 'Road', 'Avenue'))}"
    return text, text


_TEXT = {"type": "string"}
TEXT_MAKERS: dict[str, Maker] = {
    "place": _place, "company": _company, "longdate": _long_date, "formula": _formula, "phrase": _title,
    "sentence": _sentence, "streetaddress": _street_address,
    "weekday": lambda c: (day := c.pick(words.WEEKDAYS), day), "month": lambda c: (month := c.pick(_MONTHS), month),
    "colour": lambda c: (colour := c.pick(words.COLOURS), colour),
}  # fmt: skip
NUMBER_MAKERS: dict[str, Maker] = {"count": _count, "money": _money, "percent": _percent, "fraction": _fraction}


def library_slot(chance: Chance, parameter: Parameter) -> Slot:
    """A parameter of a library function, in one of the ways to document it."""
    borrowed = parameter.kind.startswith("=") and chance.part == "train" and chance.maybe(BORROWED_SHARE)
    schema, make = _borrowed() if borrowed else _typed(chance, parameter.kind)
    text = chance.choice(("The {n}", "The {n}.", "{N}", "{N}.", "The {n}."))
    if parameter.description.startswith(("whether", "what", "where", "a ", "things")):
        text = text.replace("The {n}", "{N}")
    noun = parameter.description
    text = text.format(n=noun, N=noun[0].upper() + noun[1:])
    if parameter.kind.startswith("=") and chance.maybe(0.6):
        first, second = _options(parameter.kind)[:2]
        text = text.removesuffix(".") + chance.choice(
            (" (e.g. {}, {})", ", e.g. '{}' or '{}'.", ", such as {} or {}.")
        ).format(first, second)
    if not parameter.required and chance.maybe(0.5):
        default = schema["enum"][0] if "enum" in schema else make(chance)[0]
        text = text.removesuffix(".") + chance.choice(
            (". Default is {}", " (optional)", " (default {}).", ". Optional.", ". Optional, default is {}.")
        ).format(default)
    if chance.maybe(0.95):
        schema["description"] = text
    return Slot(
        parameter.name,
        Kind((parameter.name,), (), schema, make, parameter.phrases, natural=0.85),
        schema,
        parameter.required,
        borrowed,
    )


def _typed(chance: Chance, kind: str) -> tuple[dict[str, Any], Maker]:
    """A schema without its description, and a maker of values."""
    if kind.startswith("="):
        options = _options(kind)
        return dict(_TEXT), lambda c: ((option := c.choice(options)), option)
    if "/" in kind:
        return {"type": "string", "enum": _options(kind)}, lambda c: ("", "")
    if kind == "measure":
        if chance.maybe(0.65):
            return {"type": "integer"}, lambda c: number(c.randint(1, c.choice((12, 100, 1000))))
        return {"type": "number"}, lambda c: number(c.choice((c.randint(1, 100), round(c.uniform(0.1, 99), 1))))
    if kind in TEXT_MAKERS:
        return dict(_TEXT), TEXT_MAKERS[kind]
    if kind in NUMBER_MAKERS:
        return {"type": "integer" if kind in ("count", "money") else "number"}, NUMBER_MAKERS[kind]
    if kind == "numbers":
        return {"type": "array", "items": {"type": "integer"}}, _numbers
    schema, make = MAKERS[kind]
    return dict(schema), make


def _borrowed() -> tuple[dict[str, Any], Maker]:
    """As if the typical values were those of any parameter: so values are found by where they stand and are copied, not
    known."""
    return dict(_TEXT), lambda c: ((option := c.choice(_options_of_all())), option)


@cache
def _options_of_all() -> list[str]:
    """The values of all functions that are trained on."""
    entries = [entry for place, entry in enumerate(LIBRARY) if part_of_place(place) == "train"]
    kinds = {one.kind for entry in entries for one in entry.parameters if one.kind.startswith("=")}
    return sorted({option for kind in kinds for option in _options(kind)})


def _options(kind: str) -> list[str]:
    return kind.removeprefix("=").replace("_", " ").split("/")


def _numbers(chance: Chance) -> Value:
    values, said = several(chance, lambda c: c.randint(1, c.choice((10, 100))))
    return values, f"[{', '.join(map(str, values))}]" if chance.maybe(0.4) else said
