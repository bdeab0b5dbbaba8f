"""The mixture of examples, endless and reproducible."""

from collections.abc import Iterator

from demo.training.chance import Chance, Part
from demo.training.conversation import Example
from demo.training.talk import talk_conversation
from demo.training.tool_talk import tool_conversation

TOOL_SHARE = 0.7


def examples(seed: int, part: Part, most_tools: int = 4, most_turns: int = 3) -> Iterator[Example]:
    """Conversations of `part`."""
    chance = Chance(seed, part)
    while True:
        if chance.maybe(TOOL_SHARE):
            yield tool_conversation(chance, most_tools, most_turns)
        else:
            yield talk_conversation(chance, most_turns)
