"""Parameters of invented tools: how they are declared, which values they take and how a user mentions these."""

# ruff: noqa: E501 - tables of phrases

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from demo.training import words
from demo.training.chance import Chance
from demo.training.domains import Parameter

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
    """A parameter of one tool."""

    name: str
    kind: Kind
    schema: dict[str, Any]
    required: bool

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

    def mention(self, chance: Chance, value: Value) -> str:
        """How a user gives the value, as a part of a request."""
        argument, said = value
        if isinstance(argument, bool):
            return chance.pick(FLAG_ON if argument else FLAG_OFF).format(n=self.spoken)
        if self.kind.phrases and chance.maybe(self.kind.natural):
            return chance.choice(self.kind.phrases).format(v=said)
        return chance.pick(NAMED).format(n=self.spoken, v=said)


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


def _person(chance: Chance) -> Value:
    if chance.maybe(0.4):
        return _said(chance.pick(words.FIRST_NAMES))
    return _said(f"{chance.pick(words.FIRST_NAMES)} {chance.pick(words.LAST_NAMES)}")


def _said(text: str) -> Value:
    return text, text


def _number(text: float) -> Value:
    return text, str(text)


def _code(chance: Chance) -> str:
    letters = "".join(chance.choices("ABCDEFGHJKLMNPQRSTUVWXYZ", k=chance.randint(1, 3)))
    digits = "".join(chance.choices("0123456789", k=chance.randint(2, 6)))
    return chance.choice((letters + digits, f"{letters}-{digits}", digits, letters.lower() + digits))


def _email(chance: Chance) -> str:
    user = chance.pick(words.FIRST_NAMES).split()[0].lower()
    if chance.maybe(0.5):
        user += chance.choice("._") + chance.pick(words.LAST_NAMES).lower()
    return f"{user}@{chance.choice((*words.SERVICES, nonsense(chance)))}.{chance.choice(('com', 'org', 'net', 'io'))}"


def _date(chance: Chance) -> str:
    if chance.maybe(0.25):
        return chance.choice(("today", "tomorrow", *words.WEEKDAYS))
    return f"{chance.randint(2020, 2029)}-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}"


def _integer(chance: Chance) -> int:
    return chance.randint(1, chance.choice((10, 10, 100, 100, 1000, 10000)))


def _decimal(chance: Chance) -> float:
    if chance.maybe(0.3):
        return _integer(chance)
    return round(chance.uniform(0.1, chance.choice((10, 100, 1000, 10000))), chance.choice((1, 2)))


def _word(chance: Chance) -> str:
    if chance.maybe(0.4):
        return nonsense(chance).capitalize() if chance.maybe(0.3) else nonsense(chance)
    return chance.pick(chance.choice((words.THINGS, words.NOUNS, words.CITIES, words.COLOURS, words.LAST_NAMES)))


def _several(chance: Chance, make: Callable[[Chance], Any]) -> Value:
    items = [make(chance) for _ in range(chance.randint(2, 4))]
    texts = [str(item) for item in items]
    if chance.maybe(0.3):
        return items, ", ".join(texts)
    return items, ", ".join(texts[:-1]) + " and " + texts[-1]


def _quoted(chance: Chance, texts: tuple[str, ...]) -> Value:
    text = chance.pick(texts)
    return text, chance.choice(("'{}'", "{}", "{}")).format(text)


def _range(chance: Chance) -> Value:
    low = chance.randint(1, 50)
    value = {"max": low + chance.randint(1, 200), "min": low}
    return value, f"{value['min']} to {value['max']}"


def _pair(chance: Chance) -> Value:
    value = {
        "city": chance.pick(words.CITIES),
        "street": f"{chance.randint(1, 99)} {chance.pick(words.LAST_NAMES)} Street",
    }
    return value, f"{value['street']}, {value['city']}"


_TEXT, _INTEGER, _NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}
_IN, _FOR = ("in {v}", "for {v}", "near {v}", "in {v}"), ("for {v}", "of {v}", "by {v}", "for {v}")
_ADDRESS = {"properties": {"city": _TEXT, "street": _TEXT}, "required": ["city", "street"], "type": "object"}
_BOUNDS = {"properties": {"max": _INTEGER, "min": _INTEGER}, "required": ["max", "min"], "type": "object"}

KINDS: tuple[Kind, ...] = (
    Kind(("city", "location", "place", "town", "city_name"), ("City name", "The city", "Where", "Name of the place"),
         _TEXT, lambda c: _said(c.pick(words.CITIES)), _IN),
    Kind(("origin", "from_city", "departure"), ("Where it starts", "City of departure"), _TEXT,
         lambda c: _said(c.pick(words.CITIES)), ("from {v}", "starting in {v}", "leaving {v}")),
    Kind(("destination", "to_city", "target_city"), ("Where it goes", "City of arrival"), _TEXT,
         lambda c: _said(c.pick(words.CITIES)), ("to {v}", "going to {v}", "towards {v}")),
    Kind(("name", "customer", "person", "user_name", "patient", "guest", "recipient"), ("Full name", "Name of the person", "Who"),
         _TEXT, _person, _FOR),
    Kind(("email", "email_address", "to"), ("E-mail address", "Where to send it"), _TEXT, lambda c: _said(_email(c)),
         ("to {v}", "for {v}", "at {v}")),
    Kind(("date", "day", "due_date", "start_date", "on_date"), ("Date, YYYY-MM-DD", "The day", "When"), _TEXT,
         lambda c: _said(_date(c)), ("on {v}", "for {v}", "due {v}")),
    Kind(("time", "start_time", "at_time"), ("Time of day", "HH:MM"), _TEXT,
         lambda c: _said(f"{c.randint(0, 23):02}:{c.randint(0, 59):02}"), ("at {v}", "starting at {v}")),
    Kind(("id", "order_id", "user_id", "reference", "code", "account_id", "ticket_number", "booking_id"),
         ("Identifier", "The id", "Reference code", "Unique code"), _TEXT, lambda c: _said(_code(c)),
         ("number {v}", "with id {v}", "{v}")),
    Kind(("query", "topic", "subject", "keyword", "search_term"), ("What to look for", "The topic", "Search words"), _TEXT,
         lambda c: _quoted(c, words.TOPICS), ("about {v}", "on {v}", "about {v}")),
    Kind(("text", "message", "content", "body", "note"), ("The text", "What it says", "Content"), _TEXT,
         lambda c: _quoted(c, words.SENTENCES), ("saying {v}", "that says {v}", "with the words {v}")),
    Kind(("title", "label", "item", "product", "product_name"), ("Its name", "The title", "Which one"), _TEXT,
         lambda c: _said(_word(c)), ("called {v}", "named {v}", "{v}")),
    Kind(("count", "limit", "quantity", "number", "max_results", "guests", "days", "copies"),
         ("How many", "Number of them", "Limit"), _INTEGER, lambda c: _number(_integer(c))),
    Kind(("amount", "price", "total", "weight", "distance", "budget"), ("Amount", "The value", "Size as a number"), _NUMBER,
         lambda c: _number(_decimal(c))),
    Kind(("radius", "height", "width", "length", "base", "side", "a", "b", "x", "y", "mass", "speed", "rate"),
         ("A measure", "The number", "In metres", "Value"), _NUMBER, lambda c: _number(_decimal(c))),
    Kind(("unit", "units", "format", "mode", "type", "category", "size", "priority", "level", "status", "sort_by"),
         ("Which one", "Choice", "The kind"), {"enum": [], "type": "string"}, lambda c: _no_value(c), ("in {v}", "as {v}", "{v}")),
    Kind(("color", "colour"), ("Colour name", "The colour"), _TEXT, lambda c: _said(c.pick(words.COLOURS)), ("in {v}", "{v}")),
    Kind(("language", "target_language"), ("Language", "Name of the language"), _TEXT, lambda c: _said(c.pick(words.LANGUAGES)),
         ("in {v}", "to {v}", "into {v}")),
    Kind(("details", "express", "gift_wrap", "insurance", "history", "notify", "verbose", "breakfast", "dry_run", "sound"),
         ("Whether to do so", "True or false", "On or off"), {"type": "boolean"},
         lambda c: (v := c.maybe(0.6), "yes" if v else "no")),
    Kind(("tags", "items", "names", "words", "labels", "cities"), ("A list", "All of them", "Several"),
         {"items": _TEXT, "type": "array"}, lambda c: _several(c, _word)),
    Kind(("numbers", "values", "data", "scores", "ids"), ("A list of numbers", "The numbers"), {"items": _INTEGER, "type": "array"},
         lambda c: _several(c, _integer), ("of {v}", "for {v}")),
    Kind(("address", "location", "home"), ("Where it is", "Full address"), _ADDRESS, _pair, ("at {v}", "to {v}")),
    Kind(("range", "bounds", "limits"), ("From and to", "Lowest and highest"), _BOUNDS, _range, ("from {v}", "between {v}")),
)  # fmt: skip
ENUMS = (
    ("celsius", "fahrenheit"), ("metric", "imperial"), ("small", "medium", "large"), ("low", "normal", "high"),
    ("json", "csv", "xml"), ("asc", "desc"), ("economy", "business", "first"), ("open", "closed", "pending"),
    ("car", "bike", "train", "walk"), ("pdf", "html", "text"), ("USD", "EUR", "GBP"), ("daily", "weekly", "monthly"),
)  # fmt: skip


# What the kinds of parameters in demo.training.domains are made of.
MAKERS: dict[str, tuple[str, Callable[[Chance], Value]]] = {
    "city": ("string", lambda c: _said(c.pick(words.CITIES) if c.maybe(0.8) else nonsense(c).capitalize())),
    "person": ("string", _person),
    "email": ("string", lambda c: _said(_email(c))),
    "date": ("string", lambda c: _said(_date(c))),
    "time": ("string", lambda c: _said(f"{c.randint(0, 23):02}:{c.randint(0, 59):02}")),
    "code": ("string", lambda c: _said(_code(c))),
    "topic": ("string", lambda c: _quoted(c, words.TOPICS)),
    "text": ("string", lambda c: _quoted(c, words.SENTENCES)),
    "word": ("string", lambda c: _said(_word(c))),
    "language": ("string", lambda c: _said(c.pick(words.LANGUAGES))),
    "currency": ("string", lambda c: _said(c.choice(("USD", "EUR", "GBP", "JPY", "CHF", "CNY", "INR", "CAD")))),
    "ticker": ("string", lambda c: _said("".join(c.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=c.randint(2, 4))))),
    "path": ("string", lambda c: _said(f"{c.choice(('', '/tmp/', 'docs/', '~/'))}{nonsense(c)}.{c.choice(('txt', 'md', 'py', 'csv'))}")),
    "number": ("number", lambda c: _number(_decimal(c))),
    "small": ("integer", lambda c: _number(c.randint(1, 40))),
    "year": ("integer", lambda c: _number(c.randint(1950, 2025))),
}  # fmt: skip


def domain_slot(parameter: Parameter) -> Slot:
    """A parameter of a tool of demo.training.domains."""
    schema: dict[str, Any] = {"description": parameter.description, "type": "string"}
    make: Callable[[Chance], Value] = _no_value
    if "/" in parameter.kind:
        schema["enum"] = parameter.kind.split("/")
    else:
        schema["type"], make = MAKERS[parameter.kind]
    kind = Kind((parameter.name,), (parameter.description,), schema, make, parameter.phrases, natural=0.9)
    return Slot(parameter.name, kind, schema, parameter.required)


def _no_value(_: Chance) -> Value:
    raise AssertionError("the value of an enumeration is taken from its schema")


def make_slot(chance: Chance, required: bool) -> Slot:
    """A parameter; one in four has an invented name."""
    kind = chance.choice(KINDS)
    name = chance.choice(kind.names)
    if chance.maybe(0.25):
        words_of_name = (chance.choice(words.ADJECTIVES), chance.choice(words.NOUNS), nonsense(chance))
        name = "_".join(chance.sample(words_of_name, k=chance.choice((1, 2))))
        kind = Kind((name,), kind.descriptions, kind.schema, kind.make)  # only its name says what is meant
    schema = dict(kind.schema)
    if "enum" in schema:
        options = list(chance.choice(ENUMS)) if chance.maybe(0.6) else [nonsense(chance) for _ in range(3)]
        schema["enum"] = options
    if chance.maybe(0.75):
        schema["description"] = chance.choice(kind.descriptions)
    return Slot(name, kind, schema, required)
