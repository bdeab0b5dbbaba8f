"""Invented tools, what users ask of them, what they return and how the result is told."""

# ruff: noqa: E501 - tables of phrases

from dataclasses import dataclass, replace
from string import Formatter
from typing import Any

from demo.training import words
from demo.training.chance import Chance
from demo.training.conversation import compact
from demo.training.domains import DOMAINS
from demo.training.phrasing import framing, questioning
from demo.training.slots import Slot, _code, _decimal, _integer, _word, any_word, domain_slot, make_slot
from server.conversation import Tool


@dataclass(frozen=True)
class Action:
    """A tool, with the words in which its use is asked for."""

    tool: Tool
    verb: int | None  # index into words.VERBS; None: `heads` say what is wanted
    thing: str
    slots: tuple[Slot, ...]  # in the order in which users mention them
    heads: tuple[str, ...] = ()  # with {g} where `goals` belong, if there are goals; without heads a goal is one
    goals: tuple[str, ...] = ()
    topic: str = ""  # of the library
    sentences: tuple[str, ...] = ()  # whole requests, with {name} where a value belongs


@dataclass(frozen=True)
class Request:
    """A use of an action: its arguments and how a user puts it, without a frame: the head says what is wanted, the tail
    the values. A whole request needs no frame."""

    action: Action
    arguments: dict[str, Any]
    head: str
    tail: str
    whole: bool = False

    @property
    def said(self) -> str:
        return " ".join(part for part in (self.head, self.tail) if part)


FRAMES = (
    "{r}", "{r}.", "Please {r}.", "Can you {r}?", "I want to {r}.", "Could you {r}?",
    "{r}, please.", "I need you to {r}.", "{r} please", "Hey, {r}.", "Would you {r}?", "I'd like to {r}.",
    "Hi! {r}.", "Go ahead and {r}.", "{r} for me.", "I have to {r}.", "Now {r}.", "Help me {r}.",
    "Let's {r}.", "can you please {r}", "My boss wants me to {r}.", "{r} now.", "It is time to {r}.", "Kindly {r}.",
    "Will you {r}?", "You should {r}.", "I would love to {r}.", "Try to {r}.", "please {r}", "Do {r}.",
    "Hello, {r}.", "Can you {r} for me?", "Could you please {r}?", "{r}!", "Time to {r}.", "Good morning, {r}.",
    "I need to {r}", "we need to {r}", "I must {r}.", "Quickly {r}.", "{r} right away.", "Be so kind and {r}.",
)  # fmt: skip
QUESTIONS = (
    "{r}?", "{r}", "Hi, {r}?", "{r}?", "Tell me, {r}?", "{r} please?",
    "{r}?", "Hello! {r}?", "I wonder: {r}?", "{r}", "Hey, {r}?", "Please tell me, {r}?",
)  # fmt: skip
ASKING = ("what", "how", "who", "where", "is ", "do ", "any ", "can ", "which", "when")
# Requests that cannot follow "can you".
STATEMENTS = (
    "{r}", "{r}.", "Hi! {r}.", "{r}, please.", "Hello, {r}.", "Hey, {r}.",
    "Good morning, {r}.", "So, {r}.", "Now, {r}", "OK, {r}.", "{r} please", "Well, {r}.",
)  # fmt: skip
PLAIN_HEADS = (
    "get the {t}", "check the {t}", "I need the {t}", "do the {t}", "use the {t} tool", "find the {t}",
    "show me the {t}", "please get the {t}", "run the {t}", "make the {t}", "take care of the {t}", "give me the {t}",
)  # fmt: skip
BY_NAME = (
    "use {t}",
    "call {t}",
    "run {t}",
    "use the tool {t}",
    "call the function {t}",
    "{t}",
    "try {t}",
    "use {t} now",
)
STATING = ("i ", "i'd ", "let ", "new ", "it ")
COMPOSED_SHARE = 0.5
LENGTHENED_SHARE = 0.15
NAME_SHARE, DESCRIPTION_SHARE = 0.04, 0.06  # requests in the words of the declaration
SENTENCE_SHARE = 0.55
DOMAIN_SHARE = 0.22
LIBRARY_SHARE = 0.63
ARTICLES = ("the", "the", "a", "my", "our", "")


def make_action(chance: Chance, verb: int | None = None, thing: str | None = None) -> Action:
    """An action with one to four parameters, at least one of them required. `verb` and `thing` may be given, to make
    it like another."""
    verb = chance.randrange(len(words.VERBS)) if verb is None else verb
    thing = thing or _thing(chance)
    slots: dict[str, Slot] = {}
    for place in range(chance.choices((1, 2, 3, 4), weights=(45, 35, 15, 5))[0]):
        slot = make_slot(chance, required=place == 0 or chance.maybe(0.6))
        slots.setdefault(slot.name, slot)
    ordered = tuple(slots[name] for name in sorted(slots))
    name = chance.compose(lambda: _tool_name(chance, verb, thing))
    about = words.VERBS[verb][2]
    description = chance.choice(
        (f"{about} the {thing}.", f"{about} a {thing}", f"{about} {thing}", f"{about} the {thing}")
    )
    return Action(Tool(name, description, schema(chance, ordered)), verb, thing, ordered)


def domain_action(chance: Chance) -> Action:
    """An action of demo.training.domains, with its required parameters and some of the optional ones."""
    domain = chance.choice(DOMAINS)

    def name() -> str:
        parts = chance.choice(domain.names).split("_")
        if chance.maybe(0.2):  # some, so that names are read and not known
            parts = [chance.choice(chance.choice(words.VERBS)[0]), *_some(chance, domain.about.split())]
        if chance.maybe(0.25):
            parts.insert(0, chance.choice(words.SERVICES) if chance.maybe(0.4) else any_word(chance))
        parts = lengthened(chance, parts)
        if chance.maybe(0.15):
            return parts[0] + "".join(part.capitalize() for part in parts[1:])
        return "_".join(parts)

    slots = tuple(domain_slot(one) for one in domain.parameters if one.required or chance.maybe(0.6))
    tool = Tool(chance.compose(name), chance.choice(domain.descriptions), schema(chance, slots))
    return Action(tool, None, domain.about, slots, domain.heads)


def lengthened(chance: Chance, parts: list[str]) -> list[str]:
    """The parts of a name, in training at times with a word more, so that names are read to their end."""
    if chance.part == "train" and chance.maybe(LENGTHENED_SHARE):
        place = chance.randint(0, len(parts))
        return [*parts[:place], any_word(chance), *parts[place:]]
    return parts


def _some(chance: Chance, items: list[str]) -> list[str]:
    """One or two of them."""
    return chance.sample(items, k=min(len(items), chance.choice((1, 1, 2))))


def schema(chance: Chance, slots: tuple[Slot, ...]) -> dict[str, Any]:
    """The JSON schema of a tool's parameters."""
    ordered = sorted(slots, key=lambda slot: slot.name) if chance.maybe(0.5) else slots
    required = [slot.name for slot in ordered if slot.required]
    properties = {slot.name: slot.schema for slot in ordered}
    return {"type": "object", "properties": properties, "required": required}


def _thing(chance: Chance) -> str:
    noun = any_word(chance) if chance.maybe(0.25) else chance.choice(words.NOUNS)
    if chance.maybe(0.3):
        return f"{chance.choice(chance.choice((words.ADJECTIVES, words.NOUNS)))} {noun}"
    return noun


def _tool_name(chance: Chance, verb: int, thing: str) -> str:
    parts = [chance.choice(words.VERBS[verb][0]), *thing.split()]
    if chance.maybe(0.15):
        parts = [*parts[1:], parts[0]]
    if chance.maybe(0.15):
        parts.insert(0, chance.choice(words.SERVICES))
    if chance.maybe(0.06):
        parts.append(chance.choice(("v1", "v2", "tool", "api", "info", "data")))
    parts = lengthened(chance, parts)
    style = chance.random()
    if style < 0.7:
        return "_".join(parts)
    if style < 0.85:
        return parts[0] + "".join(part.capitalize() for part in parts[1:])
    return ("-" if style < 0.93 else "").join(part if style < 0.93 else part.capitalize() for part in parts)


def any_request(chance: Chance, action: Action) -> Request:
    """A request, at times a whole one."""
    if not action.sentences or not chance.maybe(SENTENCE_SHARE):
        return make_request(chance, action)
    sentence = chance.choice(action.sentences)
    slots = {slot.name: slot for slot in action.slots}
    values = {name: slots[name].value(chance) for name in placeholders(sentence)}
    arguments = {name: values[name][0] for name in sorted(values)}
    return Request(action, arguments, sentence.format(**{name: said for name, (_, said) in values.items()}), "", True)


def placeholders(sentence: str) -> list[str]:
    """The names of the parameters that a whole request mentions."""
    return [name for _, name, _, _ in Formatter().parse(sentence) if name]


def make_request(chance: Chance, action: Action, leave_out: str | None = None) -> Request:
    """Values for the required parameters and some of the optional ones. `leave_out` names one not to mention."""
    arguments: dict[str, Any] = {}
    mentions: list[str] = []
    for slot in action.slots:
        if slot.name == leave_out or not (slot.required or chance.maybe(0.5)):
            continue
        value = slot.value(chance)
        arguments[slot.name] = value[0]
        mentions.append(slot.mention(chance, value, _phrases_of_others(action, slot)))
    ordered = {name: arguments[name] for name in sorted(arguments)}
    if action.verb is not None or chance.maybe(0.15):
        chance.shuffle(mentions)
    return Request(action, ordered, _head(chance, action), joined(chance, mentions))


def _head(chance: Chance, action: Action) -> str:
    if chance.part == "train" and chance.maybe(NAME_SHARE):
        return chance.choice(BY_NAME).format(t=action.tool.name)
    if chance.part == "train" and action.verb is None and action.tool.description and chance.maybe(DESCRIPTION_SHARE):
        text = action.tool.description.rstrip(".")
        return text[0].lower() + text[1:]
    if action.verb is not None:
        verb, article = chance.choice(words.VERBS[action.verb][1]), chance.choice(ARTICLES)
        return " ".join(part for part in (verb, article, action.thing) if part)
    if action.goals:
        goal = action.goals[0] if chance.maybe(0.6) else chance.choice(action.goals)
        return chance.pick(action.heads).format(g=goal) if action.heads else goal
    if chance.maybe(0.1):
        return chance.pick(PLAIN_HEADS).format(t=action.thing.split()[0])
    return chance.pick(action.heads)


def joined(chance: Chance, mentions: list[str]) -> str:
    """The mentions one after the other; the last one at times after "and" or a comma."""
    if len(mentions) < 2 or mentions[-1].startswith(("and ", "but ", "(")):
        return " ".join(mentions)
    return " ".join(mentions[:-1]) + chance.choice((" ", " ", " and ", " and ", ", ")) + mentions[-1]


def make_requests(chance: Chance, action: Action, count: int) -> tuple[list[Request], Request]:
    """Uses of an action that differ in one value, and how a user asks for all of them at once: said like the first,
    with all values in the place of one, or with the values of each in turn."""
    first = any_request(chance, action)
    slots = [
        slot for slot in action.slots if slot.name in first.arguments and isinstance(first.arguments[slot.name], str)
    ]
    slots = [slot for slot in slots if "enum" not in slot.schema and first.said.count(first.arguments[slot.name]) == 1]
    if not slots:
        requests = [make_request(chance, action) for _ in range(count)]
        return requests, Request(action, {}, said_in_turn(chance, requests), "")
    slot = chance.choice(slots)
    values = [first.arguments[slot.name]] + [slot.value(chance)[0] for _ in range(count - 1)]
    said = first.said.replace(values[0], ", ".join(values[:-1]) + " and " + values[-1])
    requests = [Request(action, first.arguments | {slot.name: value}, "", "") for value in values]
    return requests, replace(first, head=said, tail="")


def said_in_turn(chance: Chance, requests: list[Request]) -> str:
    """Uses of one action: what is wanted once, then the values of each."""
    if not all(request.tail for request in requests):
        return " and ".join(request.said for request in requests)
    joint = chance.choice((" and ", " and ", ", and ", "; ", " and also "))
    return requests[0].said + joint + joint.join(request.tail for request in requests[1:])


def _phrases_of_others(action: Action, slot: Slot) -> frozenset[str]:
    """Phrases that could as well mean another parameter of an invented tool, whose order says nothing."""
    if action.verb is None:
        return frozenset()
    return frozenset(phrase for other in action.slots if other is not slot for phrase in other.kind.phrases)


def message(chance: Chance, request: Request) -> str:
    """A request as a message."""
    return request.said if request.whole else framed(chance, request.said)


def framed(chance: Chance, said: str) -> str:
    """What is wanted, as a message."""
    start = said.lower()
    asking, stating = start.startswith(ASKING), start.startswith(STATING)
    if chance.part == "train" and chance.maybe(COMPOSED_SHARE):
        frame = questioning(chance) if asking or stating else framing(chance)
    else:
        frame = chance.pick(QUESTIONS if asking else STATEMENTS if stating else FRAMES)
    text = frame.format(r=said)
    return text[0].upper() + text[1:] if chance.maybe(0.8) else text


DONE = ("OK", "done", "Success", "ok", "Done.", "success", "true", "Saved.")
OUTCOMES = (
    "sunny", "cloudy", "rainy", "windy", "snowy", "confirmed", "booked", "sent", "created", "deleted", "updated", "shipped",
    "delivered", "pending", "cancelled", "celsius", "positive", "negative", "on", "off", "open", "closed", "ready", "active",
)  # fmt: skip
FIELDS = (
    "status", "total", "temperature", "price", "name", "id", "balance", "result", "distance", "duration", "score", "count",
    "condition", "humidity", "wind", "unit", "location", "time", "currency", "next", "size", "type", "email", "state", "confirmation",
    "message", "city", "date", "weight", "owner", "rating", "answer", "code", "level", "value", "amount", "speed", "title",
)  # fmt: skip
ERRORS = (
    "not found", "access denied", "service unavailable", "invalid id", "timeout", "no such user", "rate limit reached",
    "connection lost", "out of stock", "permission denied", "unknown city", "disk full", "card declined", "already exists",
    "quota exceeded", "bad request", "payment failed", "database locked",
)  # fmt: skip


def make_result(chance: Chance) -> tuple[str, str]:
    """What a tool returns, and the sentence that tells it."""
    style = chance.random()
    if style < 0.6:
        fields = _fields(chance, chance.choices((1, 2, 3), weights=(60, 30, 10))[0])
        return json_or_spaced(chance, fields), tell(fields)
    if style < 0.72:
        items = [_word(chance) for _ in range(chance.randint(2, 4))]
        key = chance.choice(("results", "items", "matches", "list", "found"))
        listed = ", ".join(items[:-1]) + " and " + items[-1]
        return json_or_spaced(chance, {key: items}), f"I found {listed}."
    if style < 0.82:
        error = chance.pick(ERRORS) if chance.maybe(0.6) else f"{_word(chance)} {chance.pick(ERRORS)}"
        text = chance.choice((compact({"error": error}), f"Error: {error}", compact({"error": error})))
        return text, f"The tool reported an error: {error}."
    if style < 0.9:
        done = chance.choice((*DONE, f"Done: {_code(chance)}", f"Created {_code(chance)}", f"Sent to {_word(chance)}"))
        return done, f"The tool says: {done}"
    text = chance.choice(
        (str(_decimal(chance)), _word(chance), _code(chance), f"{_integer(chance)} {chance.choice(words.NOUNS)}")
    )
    return text, f"The result is {text}."


def _fields(chance: Chance, count: int) -> dict[str, Any]:
    names = {chance.choice(FIELDS) if chance.maybe(0.7) else chance.choice(words.NOUNS) for _ in range(count)}
    makers = (_integer, _decimal, _word, _word, _code, lambda c: c.choice(OUTCOMES))
    return {name: chance.choice(makers)(chance) for name in sorted(names)}


def tell(fields: dict[str, Any]) -> str:
    """A sentence that quotes every field."""
    parts = [f"the {name.replace('_', ' ')} is {value}" for name, value in fields.items()]
    text = ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else parts[0]
    return text[0].upper() + text[1:] + "."


def json_or_spaced(chance: Chance, value: dict[str, Any]) -> str:
    """JSON as servers write it: with blanks or without."""
    text = compact(value)
    return text if chance.maybe(0.5) else text.replace('":', '": ').replace(',"', ', "')
