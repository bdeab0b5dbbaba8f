"""Random choices that keep training and evaluation apart.

Every table of phrases or values is split by position, every composed name by its checksum; a Chance draws from its own
part only. So no evaluation example can share a phrase template, a table value or a tool name with a training example.
"""

import zlib
from collections.abc import Callable, Sequence
from random import Random
from typing import Literal, TypeVar

Part = Literal["train", "held_out"]
T = TypeVar("T")
HELD_OUT_EVERY = 6


def part_of_place(index: int) -> Part:
    """The part of a table's entry."""
    return "held_out" if index % HELD_OUT_EVERY == HELD_OUT_EVERY - 1 else "train"


def part_of_name(text: str) -> Part:
    """The part of a composed name or value."""
    return "held_out" if zlib.crc32(text.lower().encode()) % HELD_OUT_EVERY == 0 else "train"


class Chance(Random):
    """A seeded generator bound to one part."""

    def __init__(self, seed: int, part: Part) -> None:
        super().__init__(seed)
        self.part = part

    def pick(self, table: Sequence[T]) -> T:
        """An entry of this part. Tables shorter than HELD_OUT_EVERY have no held-out entries and are refused."""
        if len(table) < HELD_OUT_EVERY:
            raise ValueError(f"a table of {len(table)} entries cannot be split; use choice() if it need not be")
        while True:
            index = self.randrange(len(table))
            if part_of_place(index) == self.part:
                return table[index]

    def compose(self, make: Callable[[], str]) -> str:
        """What `make` returns, tried until it is of this part."""
        while True:
            text = make()
            if part_of_name(text) == self.part:
                return text

    def maybe(self, probability: float) -> bool:
        return self.random() < probability
