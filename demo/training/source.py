"""The mixture of examples, endless and reproducible."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from demo.training.chance import Chance, Part
from demo.training.conversation import Example
from demo.training.real_tools import real_actions, real_cases
from demo.training.talk import talk_conversation
from demo.training.thoughts import thoughtful
from demo.training.tool_talk import real_conversation, tool_conversation, tool_requests
from demo.training.tools import Action

TOOL_SHARE = 0.6
THINKING_SHARE = 0.1
CASE_SHARE = 0.05
REQUESTS_SHARE = 0.75
LONG_SHARE, LONG_TOOLS, LONG_REQUESTS = 0.05, (5, 10), (6, 12)  # one to two thousand tokens


@dataclass(frozen=True)
class Mixing:
    """What examples are made of, beside the generators. `tools`: folder with real declarations."""

    tools: Path | None = None


def examples(
    seed: int, part: Part, most_tools: int = 4, most_turns: int = 6, mixing: Mixing = Mixing()
) -> Iterator[Example]:
    """Conversations of `part`."""
    chance = Chance(seed, part)
    actions = real_actions(mixing.tools) if mixing.tools is not None else ()
    cases = real_cases(mixing.tools) if mixing.tools is not None else ()
    while True:
        if cases and chance.maybe(CASE_SHARE):
            example = real_conversation(chance, chance.choice(cases))
        elif chance.maybe(TOOL_SHARE):
            example = _with_tools(chance, most_tools, most_turns, actions)
        else:
            example = talk_conversation(chance, min(most_turns, 3))
        yield thoughtful(chance, example) if chance.maybe(THINKING_SHARE) else example


def _with_tools(chance: Chance, most_tools: int, most_turns: int, actions: Sequence[Action]) -> Example:
    if most_turns > 1 and chance.maybe(LONG_SHARE):
        return tool_requests(chance, LONG_TOOLS[1], actions, LONG_TOOLS[0], LONG_REQUESTS)
    if most_turns > 1 and chance.maybe(REQUESTS_SHARE):
        return tool_requests(chance, most_tools, actions)
    return tool_conversation(chance, most_tools, most_turns, real=actions)
