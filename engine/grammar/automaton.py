"""Automata and the memory that they may take. Compiled grammars grow with use: what a lexer has seen, it remembers.

    a source ──compile──▶ Automaton ◀── copies of its matcher, one a request, that share what grows
                              │ worn: grown beyond its share, or to a limit of the library
                              ▼ replaced by a fresh one, to which the requests move (engine/grammar/state.py)

Knows no request and no thread.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from weakref import WeakSet

from llguidance import LLMatcher

from engine.grammar.source import lexer_cost
from engine.grammar.tokens import GrammarTokens

# Memory for a unit of the library's lexer cost. Measured: 2 to 17 for expressions that branch without end.
BYTES_PER_COST = 20
MIN_BYTES = 2**19  # of any automaton
MAX_GROWTH, MIN_GROWTH = 32 * 2**20, 2**20  # of one automaton before it is replaced
MAX_AUTOMATA = 1024  # in the cache


@dataclass(slots=True, eq=False, weakref_slot=True)
class Automaton:
    """A compiled source. `matcher` is never advanced: each request takes a copy. `base_bytes` is what compiling took,
    `grown_bytes` what use has added. Not `usable` for further requests once it is worn."""

    source: str
    matcher: LLMatcher
    tokens: GrammarTokens
    base_bytes: int
    usable: bool = True
    grown_bytes: int = 0
    needed_bytes: int = 0  # of those, what the answers needed that moved here
    _first_cost: int | None = None

    @property
    def bytes(self) -> int:
        return self.base_bytes + self.grown_bytes

    def measure(self, matcher: LLMatcher) -> None:
        """Brings `grown_bytes` up to date by what `matcher`, a copy of this one's, has seen: before its first use by
        `matcher` itself, later by one that has just been used."""
        cost = lexer_cost(matcher, self.tokens.size)
        if self._first_cost is None:
            self._first_cost = cost
        self.grown_bytes = max(self.grown_bytes, BYTES_PER_COST * (cost - self._first_cost))


@dataclass(slots=True)
class AutomatonCache:
    """The automata that are kept for further requests, and a count of all that live: those of running requests, too.
    `max_bytes` bounds both together: what is admitted by `reserve`, and its growth by `wear_out`. Not thread-safe."""

    max_bytes: int
    reserved_bytes: int = 0
    _kept: OrderedDict[str, Automaton] = field(default_factory=OrderedDict)
    _live: WeakSet[Automaton] = field(default_factory=WeakSet)

    @property
    def live_bytes(self) -> int:
        """What all automata take that are kept, in use, or about to be compiled."""
        return self.reserved_bytes + sum(automaton.bytes for automaton in self._live)

    def find(self, source: str) -> Automaton | None:
        """The automaton of a source, if it is kept and usable."""
        automaton = self._kept.get(source)
        if automaton is None or not automaton.usable:
            return None
        self._kept.move_to_end(source)
        return automaton

    def reserve(self, size: int) -> bool:
        """Drops the longest unused until `size` bytes fit, and sets them aside. False if those in use leave too
        little."""
        while self._kept and self.live_bytes + size > self.max_bytes:
            self._kept.popitem(last=False)
        if self.live_bytes + size > self.max_bytes:
            return False
        self.reserved_bytes += size
        return True

    def keep(self, automaton: Automaton) -> None:
        """Adds an automaton."""
        self._kept.pop(automaton.source, None)
        self._kept[automaton.source] = automaton
        self._live.add(automaton)
        while len(self._kept) > MAX_AUTOMATA:
            self._kept.popitem(last=False)

    def wear_out(self, automaton: Automaton) -> None:
        """Ends the use of an automaton that has grown beyond its share of a half of the memory."""
        share = self.max_bytes // 2 // max(1, len(self._live))
        if automaton.grown_bytes - automaton.needed_bytes > min(MAX_GROWTH, max(MIN_GROWTH, share)):
            automaton.usable = False
        self.reserve(0)
