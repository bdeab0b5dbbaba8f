"""Parameters of invented tools: how they are declared, which values they take and how a user mentions these."""

# ruff: noqa: E501 - tables of phrases

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from demo.training import words
from demo.training.chance import Chance
from demo.training.domains import Parameter
from demo.training.phrasing import naming

COMPOSED_SHARE = 0.5
Value = tuple[Any, str]  # the argument, and how a user says it


@dataclass(frozen=True)
class Kind:
    """A kind of parameter. `phrases` mention the value {v} without naming the parameter; where there are none it is
    always named."""

    names: tuple[str, ...]
    descriptions: tuple[str, ...]
    schema: dict[str, Any]
    make: Callable[[Chance], Value]
    phrases: tuple[str, ...] = ()
    natural: float = 0.6  # how often one of `phrases` is used


@dataclass(frozen=True)
class Slot:
    """A parameter of one tool. `borrowed`: its values are not what its description tells, so that no whole request
    can leave it to them whose they are."""

    name: str
    kind: Kind
    schema: dict[str, Any]
    required: bool
    borrowed: bool = False

    @property
    def spoken(self) -> str:
        """The name in words."""
        return self.name.replace("_", " ")

    def value(self, chance: Chance) -> Value:
        """A value with the way it is said. What an enumeration or a flag may be is in the schema."""
        if "enum" in self.schema:
            value = chance.choice(self.schema["enum"])
            return value, value
        return self.kind.make(chance)

    def mention(self, chance: Chance, value: Value, others: frozenset[str] = frozenset()) -> str:
        """How a user gives the value, as a part of a request. `others`: phrases that may mean another parameter."""
        argument, said = value
        if isinstance(argument, bool):
            return chance.pick(FLAG_ON if argument else FLAG_OFF).format(n=self.spoken)
        phrases = [phrase for phrase in self.kind.phrases if phrase not in others]
        if phrases and chance.maybe(self.kind.natural):
            return chance.choice(phrases).format(v=said)
        composed = chance.part == "train" and chance.maybe(COMPOSED_SHARE)
        return (naming(chance) if composed else chance.pick(NAMED)).format(n=self.spoken, v=said)


NAMED = (
    "with {n} {v}", "with {n} {v}", "{n} {v}", "with the {n} set to {v}", "using {v} as {n}", "and {n} set to {v}",
    "{n} = {v}", "{n}: {v}", "where the {n} is {v}", "with {v} as the {n}", "and the {n} is {v}", "for {n} {v}",
    "({n} {v})", "and {n} {v}", "the {n} should be {v}", "use {v} for the {n}", "with {n} equal to {v}", "taking {n} {v}",
    "with {n} of {v}", "whose {n} is {v}", "{n} being {v}", "{v} as {n}", "with {v} for {n}", "with a {n} of {v}",
    "at {n} {v}", "({n}: {v})", "where {n} = {v}", "make the {n} {v}", "set the {n} to {v}", "having {n} {v}",
    "{v} for the {n}", "in {n} {v}", "of {n} {v}", "{n} is {v}", "by {n} {v}", "of which the {n} is {v}",
)  # fmt: skip
FLAG_ON = (
    "with {n}", "with {n} on", "and {n}", "with {n} set to true", "{n} enabled", "turning {n} on",
    "with {n} enabled", "including {n}", "{n} = true", "and {n} please", "{n}: true", "switching on {n}",
)  # fmt: skip
FLAG_OFF = (
    "without {n}", "with {n} off", "but no {n}", "with {n} set to false", "{n} disabled", "turning {n} off",
    "with {n} disabled", "but without {n}", "{n} = false", "and no {n}", "{n}: false", "leaving out {n}",
)  # fmt: skip


def nonsense(chance: Chance) -> str:
    """A word that nobody has seen."""
    return chance.compose(lambda: "".join(chance.choices(words.SYLLABLES, k=chance.choice((2, 2, 3)))))


def any_word(chance: Chance) -> str:
    """An English word, or nonsense. Most values are made of these, so that they can only be copied, not known."""
    return nonsense(chance) if chance.maybe(0.35) else chance.compose(lambda: chance.choice(words.ENGLISH))


def name_or_word(chance: Chance, table: tuple[str, ...], known: float = 0.5) -> str:
    """From the table, or any word with a capital."""
    return chance.pick(table) if chance.maybe(known) else any_word(chance).capitalize()


def phrase(chance: Chance, table: tuple[str, ...], longest: int) -> str:
    """From the table, or some words."""
    if chance.maybe(0.4):
        return chance.pick(table)
    return " ".join(any_word(chance) for _ in range(chance.randint(1, longest)))


def city(chance: Chance) -> Value:
    place = name_or_word(chance, words.CITIES)
    return _said(f"{place} {any_word(chance).capitalize()}" if chance.maybe(0.06) else place)


def _person(chance: Chance) -> Value:
    first = name_or_word(chance, words.FIRST_NAMES)
    return _said(first if chance.maybe(0.4) else f"{first} {name_or_word(chance, words.LAST_NAMES)}")


def _said(text: str) -> Value:
    return text, text


def number(text: float | str) -> Value:
    return text, str(text)


def _code(chance: Chance) -> str:
    letters = "".join(chance.choices("ABCDEFGHJKLMNPQRSTUVWXYZ", k=chance.randint(1, 3)))
    digits = "".join(chance.choices("0123456789", k=chance.randint(2, 6)))
    return chance.choice((letters + digits, f"{letters}-{digits}", digits, letters.lower() + digits))


def _email(chance: Chance) -> str:
    user = name_or_word(chance, words.FIRST_NAMES).split()[0].lower()
    if chance.maybe(0.5):
        user += chance.choice("._") + chance.pick(words.LAST_NAMES).lower()
    return f"{user}@{chance.choice((*words.SERVICES, nonsense(chance)))}.{chance.choice(('com', 'org', 'net', 'io'))}"


def _date(chance: Chance) -> str:
    if chance.maybe(0.25):
        return chance.choice(("today", "tomorrow", *words.WEEKDAYS))
    return f"{chance.randint(2020, 2029)}-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}"


def _time(chance: Chance) -> str:
    if chance.maybe(0.25):
        return f"{chance.randint(1, 12)} {chance.choice(('am', 'pm'))}"
    return f"{chance.randint(0, 23):02}:{chance.randint(0, 59):02}"


def _integer(chance: Chance) -> int:
    return chance.randint(1, chance.choice((10, 10, 100, 100, 1000, 10000)))


def _decimal(chance: Chance) -> float:
    if chance.maybe(0.3):
        return _integer(chance)
    return round(chance.uniform(0.1, chance.choice((10, 100, 1000, 10000))), chance.choice((1, 2)))


def _word(chance: Chance) -> str:
    if chance.maybe(0.6):
        return any_word(chance).capitalize() if chance.maybe(0.3) else any_word(chance)
    return chance.pick(chance.choice((words.THINGS, words.NOUNS, words.CITIES, words.COLOURS, words.LAST_NAMES)))


def several(chance: Chance, make: Callable[[Chance], Any]) -> Value:
    items = [make(chance) for _ in range(chance.randint(2, 4))]
    texts = [str(item) for item in items]
    if chance.maybe(0.3):
        return items, ", ".join(texts)
    return items, ", ".join(texts[:-1]) + " and " + texts[-1]


def _quoted(chance: Chance, texts: tuple[str, ...], longest: int = 5) -> Value:
    text = phrase(chance, texts, longest)
    return text, chance.choice(("'{}'", "{}", "{}")).format(text)


def _range(chance: Chance) -> Value:
    low = chance.randint(1, 50)
    value = {"max": low + chance.randint(1, 200), "min": low}
    return value, f"{value['min']} to {value['max']}"


def _pair(chance: Chance) -> Value:
    value = {
        "city": name_or_word(chance, words.CITIES),
        "street": f"{chance.randint(1, 99)} {name_or_word(chance, words.LAST_NAMES)} Street",
    }
    return value, f"{value['street']}, {value['city']}"


_TEXT, _INTEGER, _NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}
_TEXTS, _INTEGERS = {"items": _TEXT, "type": "array"}, {"items": _INTEGER, "type": "array"}
_IN, _FOR = ("in {v}", "for {v}", "near {v}", "in {v}"), ("for {v}", "of {v}", "by {v}", "for {v}")
_ADDRESS = {"properties": {"city": _TEXT, "street": _TEXT}, "required": ["city", "street"], "type": "object"}
_BOUNDS = {"properties": {"max": _INTEGER, "min": _INTEGER}, "required": ["max", "min"], "type": "object"}

KINDS: tuple[Kind, ...] = (
    Kind(("city", "location", "place", "town", "city_name"), ("City name", "The city", "Where", "Name of the place"),
         _TEXT, city, _IN),
    Kind(("origin", "from_city", "departure"), ("Where it starts", "City of departure"), _TEXT,
         city, ("from {v}", "starting in {v}", "leaving {v}")),
    Kind(("destination", "to_city", "target_city"), ("Where it goes", "City of arrival"), _TEXT,
         city, ("to {v}", "going to {v}", "towards {v}")),
    Kind(("name", "customer", "person", "user_name", "patient", "guest", "recipient"), ("Full name", "Name of the person", "Who"),
         _TEXT, _person, _FOR),
    Kind(("email", "email_address", "to"), ("E-mail address", "Where to send it"), _TEXT, lambda c: _said(_email(c)),
         ("to {v}", "for {v}", "at {v}")),
    Kind(("date", "day", "due_date", "start_date", "on_date"), ("Date, YYYY-MM-DD", "The day", "When"), _TEXT,
         lambda c: _said(_date(c)), ("on {v}", "for {v}", "due {v}")),
    Kind(("time", "start_time", "at_time"), ("Time of day", "HH:MM"), _TEXT,
         lambda c: _said(_time(c)), ("at {v}", "starting at {v}")),
    Kind(("id", "order_id", "user_id", "reference", "code", "account_id", "ticket_number", "booking_id"),
         ("Identifier", "The id", "Reference code", "Unique code"), _TEXT, lambda c: _said(_code(c)),
         ("number {v}", "with id {v}", "{v}")),
    Kind(("query", "topic", "subject", "keyword", "search_term"), ("What to look for", "The topic", "Search words"), _TEXT,
         lambda c: _quoted(c, words.TOPICS, 3), ("about {v}", "on {v}", "about {v}")),
    Kind(("text", "message", "content", "body", "note"), ("The text", "What it says", "Content"), _TEXT,
         lambda c: _quoted(c, words.SENTENCES), ("saying {v}", "that says {v}", "with the words {v}")),
    Kind(("title", "label", "item", "product", "product_name"), ("Its name", "The title", "Which one"), _TEXT,
         lambda c: _said(_word(c)), ("called {v}", "named {v}", "{v}")),
    Kind(("count", "limit", "quantity", "number", "max_results", "guests", "days", "copies"),
         ("How many", "Number of them", "Limit"), _INTEGER, lambda c: number(_integer(c))),
    Kind(("amount", "price", "total", "weight", "distance", "budget"), ("Amount", "The value", "Size as a number"), _NUMBER,
         lambda c: number(_decimal(c))),
    Kind(("radius", "height", "width", "length", "base", "side", "a", "b", "x", "y", "mass", "speed", "rate"),
         ("A measure", "The number", "In metres", "Value"), _NUMBER, lambda c: number(_decimal(c))),
    Kind(("unit", "units", "format", "mode", "type", "category", "size", "priority", "level", "status", "sort_by"),
         ("Which one", "Choice", "The kind"), {"enum": [], "type": "string"}, lambda c: _no_value(c), ("in {v}", "as {v}", "{v}")),
    Kind(("color", "colour"), ("Colour name", "The colour"), _TEXT, lambda c: _said(name_or_word(c, words.COLOURS, 0.7).lower()), ("in {v}", "{v}")),
    Kind(("language", "target_language"), ("Language", "Name of the language"), _TEXT, lambda c: _said(name_or_word(c, words.LANGUAGES, 0.7)),
         ("in {v}", "to {v}", "into {v}")),
    Kind(("details", "express", "gift_wrap", "insurance", "history", "notify", "verbose", "breakfast", "dry_run", "sound"),
         ("Whether to do so", "True or false", "On or off"), {"type": "boolean"},
         lambda c: (v := c.maybe(0.6), "yes" if v else "no")),
    Kind(("tags", "items", "names", "words", "labels", "cities"), ("A list", "All of them", "Several"),
         _TEXTS, lambda c: several(c, _word)),
    Kind(("numbers", "values", "data", "scores", "ids"), ("A list of numbers", "The numbers"), _INTEGERS,
         lambda c: several(c, _integer), ("of {v}", "for {v}")),
    Kind(("address", "location", "home"), ("Where it is", "Full address"), _ADDRESS, _pair, ("at {v}", "to {v}")),
    Kind(("range", "bounds", "limits"), ("From and to", "Lowest and highest"), _BOUNDS, _range, ("from {v}", "between {v}")),
)  # fmt: skip
ENUMS = (
    ("celsius", "fahrenheit"), ("metric", "imperial"), ("small", "medium", "large"), ("low", "normal", "high"),
    ("json", "csv", "xml"), ("asc", "desc"), ("economy", "business", "first"), ("open", "closed", "pending"),
    ("car", "bike", "train", "walk"), ("pdf", "html", "text"), ("USD", "EUR", "GBP"), ("daily", "weekly", "monthly"),
)  # fmt: skip


# What the kinds of parameters in demo.training.domains are made of.
MAKERS: dict[str, tuple[dict[str, Any], Callable[[Chance], Value]]] = {
    "city": (_TEXT, city),
    "country": (_TEXT, lambda c: _said(name_or_word(c, words.COUNTRIES))),
    "person": (_TEXT, _person),
    "people": (_TEXTS, lambda c: several(c, lambda c: _person(c)[0])),
    "email": (_TEXT, lambda c: _said(_email(c))),
    "date": (_TEXT, lambda c: _said(_date(c))),
    "time": (_TEXT, lambda c: _said(_time(c))),
    "code": (_TEXT, lambda c: _said(_code(c))),
    "topic": (_TEXT, lambda c: _quoted(c, words.TOPICS, 3)),
    "text": (_TEXT, lambda c: _quoted(c, words.SENTENCES)),
    "word": (_TEXT, lambda c: _said(_word(c))),
    "wordlist": (_TEXTS, lambda c: several(c, _word)),
    "language": (_TEXT, lambda c: _said(name_or_word(c, words.LANGUAGES, 0.7))),
    "currency": (_TEXT, lambda c: _said(c.choice(("USD", "EUR", "GBP", "JPY", "CHF", "CNY", "INR", "CAD")))),
    "ticker": (_TEXT, lambda c: _said("".join(c.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=c.randint(2, 4))))),
    "path": (_TEXT, lambda c: _said(f"{c.choice(('', '/tmp/', 'docs/', '~/'))}{nonsense(c)}.{c.choice(('txt', 'md', 'py', 'csv'))}")),
    "folder": (_TEXT, lambda c: _said(c.choice((f"/tmp/{nonsense(c)}", "docs", f"/home/{nonsense(c)}", nonsense(c), f"~/{nonsense(c)}")))),
    "number": (_NUMBER, lambda c: number(_decimal(c))),
    "percent": (_NUMBER, lambda c: number(c.choice((c.randint(1, 20), round(c.uniform(0.1, 12), 1))))),
    "small": (_INTEGER, lambda c: number(c.randint(1, 40))),
    "large": (_INTEGER, lambda c: number(c.randint(1, c.choice((100, 1000, 100000))))),
    "numbers": (_INTEGERS, lambda c: several(c, _integer)),
    "year": (_INTEGER, lambda c: number(c.randint(1950, 2025))),
    "flag": ({"type": "boolean"}, lambda c: (v := c.maybe(0.6), "yes" if v else "no")),
}  # fmt: skip


def domain_slot(parameter: Parameter) -> Slot:
    """A parameter of a tool of demo.training.domains."""
    schema: dict[str, Any] = {"description": parameter.description, "type": "string"}
    make: Callable[[Chance], Value] = _no_value
    if "/" in parameter.kind:
        schema["enum"] = parameter.kind.split("/")
    else:
        declared, make = MAKERS[parameter.kind]
        schema |= declared
    kind = Kind((parameter.name,), (parameter.description,), schema, make, parameter.phrases, natural=0.9)
    return Slot(parameter.name, kind, schema, parameter.required)


def real_slot(name: str, schema: dict[str, Any], required: bool) -> Slot | None:
    """A parameter of a declaration from elsewhere; None for types that no value is made up for."""
    kind = schema.get("type")
    items = schema.get("items", {}).get("type")
    made: dict[Any, Callable[[Chance], Any]] = {"string": _word, "integer": _integer, "number": _decimal}
    if "enum" in schema:
        if not all(isinstance(one, str) and one for one in schema["enum"]):
            return None
        return Slot(name, Kind((name,), (), schema, _no_value), schema, required)
    if kind == "boolean":
        return Slot(name, Kind((name,), (), schema, MAKERS["flag"][1]), schema, required)
    if kind == "array" and items in made:
        return Slot(name, Kind((name,), (), schema, lambda c: several(c, made[items])), schema, required)
    if kind in made:
        return Slot(name, Kind((name,), (), schema, lambda c: number(made[kind](c))), schema, required)
    return None


def _no_value(_: Chance) -> Value:
    raise AssertionError("the value of an enumeration is taken from its schema")


def make_slot(chance: Chance, required: bool) -> Slot:
    """A parameter; one in five has an invented name."""
    kind = chance.choice(KINDS)
    name = chance.choice(kind.names)
    if chance.maybe(0.2):
        words_of_name = (chance.choice(words.ADJECTIVES), chance.choice(words.NOUNS), any_word(chance))
        name = "_".join(chance.sample(words_of_name, k=chance.choice((1, 2))))
        kind = Kind((name,), kind.descriptions, kind.schema, kind.make)  # only its name says what is meant
    schema = dict(kind.schema)
    if "enum" in schema:
        options = list(chance.choice(ENUMS)) if chance.maybe(0.85) else [any_word(chance) for _ in range(3)]
        schema["enum"] = options
    if chance.maybe(0.75):
        schema["description"] = chance.choice(kind.descriptions)
    return Slot(name, kind, schema, required)
