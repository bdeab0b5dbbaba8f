"""Conversations in which tools are declared."""

# ruff: noqa: E501 - tables of phrases

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from demo.training.chance import Chance
from demo.training.conversation import Example, compact
from demo.training.library import content_words
from demo.training.library_tools import library_action
from demo.training.real_tools import Case
from demo.training.slots import _code
from demo.training.talk import small_talk, system_prompt
from demo.training.tools import (
    DOMAIN_SHARE,
    LIBRARY_SHARE,
    Action,
    Request,
    any_request,
    domain_action,
    framed,
    json_or_spaced,
    make_action,
    make_request,
    make_requests,
    make_result,
    message,
    said_in_turn,
)
from server.conversation import Conversation, Message, ToolCall

REAL_SHARE = 0.08
REQUESTS = (4, 10)  # with the same tools
CUT_SHARE = 0.75
NO_TOOL = "None of my tools can do that."
ASK_BACK = "Which {n} should I use?"
GIVEN = (
    "{v}", "{v}.", "Use {v}.", "The {n} is {v}.", "{v}, please.", "It is {v}.",
    "Take {v}.", "{n}: {v}", "Let's say {v}.", "{v} please", "With {v}.", "Sorry, {v}.",
)  # fmt: skip
AGAIN = (
    "And {v}?", "Now the same for {v}.", "The same with {v}, please.", "And for {v}?", "Do it again for {v}.", "What about {v}?",
    "Also {v}.", "Same for {v}", "Now {v}.", "And {v} too.", "Try {v} as well.", "Repeat that with {v}.",
)  # fmt: skip
JOINTS = (
    " and ",
    " and also ",
    ", and ",
    " and then ",
    " as well as ",
    "; also ",
    ", then ",
    " and ",
    " and ",
    " plus ",
    " and ",
    ", also ",
)
CHAIN = (
    "{a}, then {b} with the {f} you get", "{a} and use the {f} to {b}", "first {a}, then {b} with its {f}",
    "{a}, and with the {f} {b}", "{a}. With the {f}, {b}", "{a} and then, with the {f} you get, {b}",
)  # fmt: skip


class Dialogue:
    """Collects one conversation's messages; call ids count over the whole of it."""

    def __init__(self, chance: Chance, actions: Sequence[Action], opening: Sequence[Message] = ()) -> None:
        self.chance = chance
        self.tools = [action.tool for action in actions]
        self.messages = list(opening)
        self.calls = 0
        self.manner = ""

    def user(self, text: str) -> None:
        self.messages.append(Message("user", text))

    def assistant(self, text: str) -> None:
        self.messages.append(Message("assistant", text))

    def call(self, *uses: tuple[str, dict[str, Any]]) -> list[ToolCall]:
        """The assistant calls tools: name and arguments of each."""
        calls = []
        for name, arguments in uses:
            calls.append(ToolCall(f"functions.{name}:{self.calls}", name, compact(arguments)))
            self.calls += 1
        self.messages.append(Message("assistant", tool_calls=tuple(calls)))
        return calls

    def result(self, call: ToolCall, text: str) -> None:
        name = call.name if self.chance.maybe(0.15) else None
        self.messages.append(Message("tool", text, name=name, tool_call_id=call.id))

    def example(self, skill: str) -> Example:
        return Example(skill, Conversation(tuple(self.messages), tuple(self.tools)), manner=self.manner)


def tool_conversation(
    chance: Chance,
    most_tools: int = 4,
    most_turns: int = 5,
    skill: str | None = None,
    real: Sequence[Action] = (),
    least_tools: int = 1,
) -> Example:
    """One to `most_turns` exchanges with `least_tools` to `most_tools` tools. `skill` fixes the first exchange's, and
    makes it the only one. `real`: actions that are used beside the generated ones."""
    actions = _actions(chance, _count(chance, least_tools, most_tools), real)
    dialogue = Dialogue(chance, actions, _system(chance))
    turns = 1 if skill else chance.randint(1, most_turns)
    skill = skill or _draw(chance)
    SKILLS[skill][0](dialogue, actions)
    for _ in range(turns - 1):
        SKILLS[_draw(chance)][0](dialogue, actions)
    return dialogue.example(skill)


def tool_requests(
    chance: Chance,
    most_tools: int = 4,
    real: Sequence[Action] = (),
    least_tools: int = 1,
    requests: tuple[int, int] = REQUESTS,
) -> Example:
    """Several unrelated requests with the same tools, each as if it was the first, most of them only up to the
    assistant's first turn: so little is read for each decision."""
    actions = _actions(chance, _count(chance, least_tools, most_tools), real)
    system = _system(chance)
    first: Example | None = None
    others: list[tuple[Message, ...]] = []
    for _ in range(chance.randint(*requests)):
        dialogue = Dialogue(chance, actions, system if first is None else ())
        skill = _draw(chance)
        SKILLS[skill][0](dialogue, actions)
        if chance.maybe(CUT_SHARE):
            answer = next(place for place, one in enumerate(dialogue.messages) if one.role == "assistant")
            del dialogue.messages[answer + 1 :]
        if first is None:
            first = dialogue.example(skill)
        else:
            others.append(tuple(dialogue.messages))
    assert first is not None
    return replace(first, others=tuple(others))


def _count(chance: Chance, least: int, most: int) -> int:
    counts = range(least, most + 1)
    return chance.choices(counts, weights=[1 / (1 + count) for count in counts])[0]


def _system(chance: Chance) -> tuple[Message, ...]:
    return (Message("system", system_prompt(chance)),) if chance.maybe(0.25) else ()


def real_conversation(chance: Chance, case: Case) -> Example:
    """A real question, its calls, and what might come back."""
    dialogue = Dialogue(chance, ())
    dialogue.tools = chance.sample(case.tools, k=len(case.tools))
    dialogue.user(case.question)
    if not case.calls:
        dialogue.assistant(NO_TOOL)
        return dialogue.example("real")
    _tell_all(dialogue, dialogue.call(*case.calls))
    return dialogue.example("real")


def _draw(chance: Chance) -> str:
    return chance.choices(list(SKILLS), weights=[weight for _, weight in SKILLS.values()])[0]


def _actions(chance: Chance, count: int, real: Sequence[Action] = ()) -> list[Action]:
    """Different actions; some are alike in what they do or in what they do it with."""
    actions: list[Action] = []
    while len(actions) < count:
        action = chance.choice(real) if real and chance.maybe(REAL_SHARE) else _action(chance, actions)
        if not any(alike(action, other) for other in actions):
            actions.append(action)
    return actions


def alike(action: Action, other: Action) -> bool:
    """Whether nobody could tell which of the two a request means."""
    if action.verb is not None or other.verb is not None:
        return (action.verb, action.thing) == (other.verb, other.thing)
    one, two = _stems(action), _stems(other)
    if action.topic and action.topic == other.topic:  # lines of a topic are made to differ
        return action.thing == other.thing
    return bool(one & two) if action.topic or other.topic else one <= two or two <= one


def _stems(action: Action) -> set[str]:
    return {word.removesuffix("s") for goal in (action.thing, *action.goals) for word in content_words(goal)}


def _action(chance: Chance, others: list[Action]) -> Action:
    if others and others[-1].topic and chance.maybe(0.4):
        return library_action(chance, others[-1].topic)
    draw = chance.random()
    if draw < LIBRARY_SHARE:
        return library_action(chance)
    if draw < LIBRARY_SHARE + DOMAIN_SHARE:
        return domain_action(chance)
    if others and others[-1].verb is not None and chance.maybe(0.5):
        like = others[-1]
        return make_action(chance, like.verb) if chance.maybe(0.5) else make_action(chance, thing=like.thing)
    return make_action(chance)


def _tell(dialogue: Dialogue, call: ToolCall) -> None:
    result, sentence = make_result(dialogue.chance)
    dialogue.result(call, result)
    dialogue.assistant(sentence)


def _tell_all(dialogue: Dialogue, calls: list[ToolCall]) -> None:
    sentences = []
    for call in calls:
        result, sentence = make_result(dialogue.chance)
        dialogue.result(call, result)
        sentences.append(sentence)
    dialogue.assistant(" ".join(sentences))


def _single(dialogue: Dialogue, actions: list[Action]) -> None:
    chance = dialogue.chance
    request = any_request(chance, chance.choice(actions))
    dialogue.manner = manner(request)
    dialogue.user(message(chance, request))
    (call,) = dialogue.call((request.action.tool.name, request.arguments))
    _tell(dialogue, call)
    if len(request.arguments) == 1 and chance.maybe(0.3):
        _again(dialogue, request)


def manner(request: Request) -> str:
    """What kind of tool is asked for, and how."""
    if request.action.verb is not None:
        return "an invented tool"
    if not request.action.topic:
        return "an everyday tool"
    return f"a library function in {'a user' if request.whole else 'the library'}'s words"


def _again(dialogue: Dialogue, request: Request) -> None:
    """The same with another value."""
    (name,) = request.arguments
    slot = next(slot for slot in request.action.slots if slot.name == name)
    value = slot.value(dialogue.chance)
    dialogue.user(dialogue.chance.pick(AGAIN).format(v=value[1]))
    (call,) = dialogue.call((request.action.tool.name, {name: value[0]}))
    _tell(dialogue, call)


def _parallel(dialogue: Dialogue, actions: list[Action]) -> None:
    """Two or three calls at once."""
    chance = dialogue.chance
    count = 3 if chance.maybe(0.15) else 2
    if len(actions) >= count and chance.maybe(0.5):
        chosen = chance.sample(actions, k=count)
    else:
        chosen = [chance.choice(actions)] * count
    requests = [any_request(chance, action) for action in chosen]
    if any(request.whole for request in requests):
        said = chance.choice((" ", " ", " And: ", "\n", " Then: ")).join(
            message(chance, request) for request in requests
        )
    else:
        said = framed(chance, chance.pick(JOINTS).join(request.said for request in requests))
    if chosen[0] is chosen[1] and chance.maybe(0.7):
        if chance.maybe(0.4):
            requests = [make_request(chance, chosen[0]) for _ in range(count)]
            said = framed(chance, said_in_turn(chance, requests))
        else:
            requests, together = make_requests(chance, chosen[0], count)
            said = message(chance, together)
    if len({compact(request.arguments) for request in requests if request.action is chosen[0]}) < chosen.count(
        chosen[0]
    ):
        return _single(dialogue, actions)  # the same call twice is no use
    dialogue.user(said)
    _tell_all(dialogue, dialogue.call(*((request.action.tool.name, request.arguments) for request in requests)))
    return None


def _chain(dialogue: Dialogue, actions: list[Action]) -> None:
    """Two calls, the second with a field of the first one's result."""
    chance = dialogue.chance
    if len(actions) < 2:
        return _single(dialogue, actions)
    first, second = chance.sample(actions, k=2)
    slot = next(
        (slot for slot in second.slots if slot.required and slot.schema == {**slot.schema, "type": "string"}), None
    )
    if slot is None or "enum" in slot.schema:
        return _single(dialogue, actions)
    start = make_request(chance, first)
    then = make_request(chance, second, leave_out=slot.name)
    value = _code(chance)
    dialogue.user(framed(chance, chance.pick(CHAIN).format(a=start.said, b=then.said, f=slot.spoken)))
    (call,) = dialogue.call((first.tool.name, start.arguments))
    dialogue.result(call, json_or_spaced(chance, {slot.name: value}))
    arguments = then.arguments | {slot.name: value}
    (call,) = dialogue.call((second.tool.name, {name: arguments[name] for name in sorted(arguments)}))
    _tell(dialogue, call)
    return None


def _ask_back(dialogue: Dialogue, actions: list[Action]) -> None:
    """A required value is missing; then it is given."""
    chance = dialogue.chance
    action = chance.choice(actions)
    slot = chance.choice(
        [slot for slot in action.slots if slot.required and slot.schema["type"] != "boolean"] or [None]
    )
    if slot is None:
        return _single(dialogue, actions)
    request = make_request(chance, action, leave_out=slot.name)
    dialogue.user(framed(chance, request.said))
    dialogue.assistant(ASK_BACK.format(n=slot.spoken))
    value = slot.value(chance)
    dialogue.user(chance.pick(GIVEN).format(n=slot.spoken, v=value[1]))
    arguments = request.arguments | {slot.name: value[0]}
    (call,) = dialogue.call((action.tool.name, {name: arguments[name] for name in sorted(arguments)}))
    _tell(dialogue, call)
    return None


def _no_tool(dialogue: Dialogue, actions: list[Action]) -> None:
    """Something is asked for that no tool does."""
    chance = dialogue.chance
    topics = [action.topic for action in actions if action.topic]
    while True:
        near = topics and chance.maybe(0.4)
        other = library_action(chance, chance.choice(topics)) if near else _action(chance, [])
        if not any(_may_serve(action, other) for action in actions):
            break
    dialogue.user(message(chance, any_request(chance, other)))
    dialogue.assistant(NO_TOOL)


def _may_serve(action: Action, other: Action) -> bool:
    """Whether a request for `other` could mean `action`."""
    return alike(action, other) or (bool(_stems(action) & _stems(other)) and not (action.topic and other.topic))


def _chat(dialogue: Dialogue, actions: list[Action]) -> None:
    for question, answer in small_talk(dialogue.chance)[:2]:
        dialogue.user(question)
        dialogue.assistant(answer)


SKILLS = {
    "single": (_single, 55),
    "parallel": (_parallel, 17),
    "chain": (_chain, 5),
    "ask_back": (_ask_back, 15),
    "no_tool": (_no_tool, 16),
    "chat_with_tools": (_chat, 6),
}
