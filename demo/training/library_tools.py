"""Tools made from the library's entries."""

import re

from demo.training.chance import Chance
from demo.training.library import LIBRARY, Entry, content_words
from demo.training.library_slots import library_slot
from demo.training.renaming import at_times_renamed
from demo.training.slots import Slot, any_word
from demo.training.tools import Action, lengthened, placeholders, schema
from demo.training.words import SERVICES
from server.conversation import Tool


def library_action(chance: Chance, topic: str | None = None) -> Action:
    """A function of the library, of `topic` if that is given."""
    while True:
        entry = chance.pick(LIBRARY)
        if topic is None or entry.topic == topic or chance.maybe(0.05):  # a topic may have no entry of this part
            break
    entry = at_times_renamed(chance, entry)
    slots = tuple(library_slot(chance, one) for one in entry.parameters if one.required or chance.maybe(0.6))
    tool = Tool(chance.compose(lambda: _name(chance, entry)), _description(chance, entry, slots), schema(chance, slots))
    goal = " ".join(content_words(entry.goals[0]))
    heads = entry.family.heads if len(entry.family.heads) > 1 else ()
    goals = tuple(dict.fromkeys((short_goal(entry), *entry.goals)))  # the short one is said most
    return Action(tool, None, goal, slots, heads, goals, entry.topic, _sentences(entry, slots))


def _sentences(entry: Entry, slots: tuple[Slot, ...]) -> tuple[str, ...]:
    """The whole requests that mention declared parameters only, none with values of others."""
    declared = {slot.name for slot in slots if not slot.borrowed}
    return tuple(one for one in entry.sentences if set(placeholders(one)) <= declared)


def short_goal(entry: Entry) -> str:
    """The goal without what the values say: "stock price" of "stock price of a company"."""
    goal, cut = "", entry.goals[0]
    values = "|".join(word for one in entry.parameters for word in one.name.split("_"))
    while cut != goal:
        goal, cut = cut, re.sub(rf" (of|in|with|by|for|near|between) ((a|an|its) ({values})|(two|some) \w+)$", "", cut)
    return goal


def _description(chance: Chance, entry: Entry, slots: tuple[Slot, ...]) -> str:
    text = chance.choice(entry.family.descriptions).format(g=entry.goals[0])
    needed = [slot.spoken for slot in slots if slot.required]
    if chance.maybe(0.3):
        listed = " and ".join(filter(None, (", ".join(needed[:-1]), needed[-1])))
        text += chance.choice((" given {}", " based on {}", " from {}", " for the given {}", " by {}")).format(listed)
    return text[0].upper() + text[1:] + chance.choice(("", ".", "."))


def _name(chance: Chance, entry: Entry) -> str:
    goal = content_words(chance.choice(entry.goals) if chance.maybe(0.3) else entry.goals[0])
    if len(goal) > 2 and chance.maybe(0.4):
        goal = goal[:2]
    if chance.maybe(0.2):
        goal.reverse()
    parts = [*filter(None, (chance.choice(entry.family.verbs),)), *goal]
    if chance.maybe(0.25):
        parts.insert(0, chance.choice((entry.topic, entry.topic, chance.choice(SERVICES), any_word(chance))))
    parts = lengthened(chance, parts)
    if chance.maybe(0.1):
        return parts[0] + "".join(part.capitalize() for part in parts[1:])
    return "_".join(parts)
