"""GrammarCompiler: grammars are compiled in threads of their own, cached, and bounded in time and memory. A grammar
that is wrong, or too costly, is refused; nothing else notices. Knows no step, no row and no scheduler.
"""

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

import numpy as np
from llguidance import LLMatcher, LLParserLimits
from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask

from engine.errors import RequestRefused
from engine.grammar.tokens import GrammarTokens
from engine.messages import Grammar

INVALID = "invalid_grammar"

MAX_SOURCE_CHARS = 2 * 2**20
COMPILE_SECONDS = 10.0
# What the cache holds at most: so many grammars, of so many characters of source together. Few, because automata grow
# with use: hostile ones were seen to take some 18 MB each.
CACHED_GRAMMARS, CACHED_CHARS = 32, 16 * 2**20
# The library makes forced text into tokens in time that grows with the square of a word's length, within a step.
MAX_FORCED_BYTES = 8192

# A row of 20,000 items holds a choice of some thousand tools; a mask within these takes some 10 ms at most.
LIMITS = LLParserLimits(
    max_items_in_row=20_000,
    initial_lexer_fuel=1_000_000,
    step_lexer_fuel=200_000,
    step_max_items=100_000,
    max_lexer_states=50_000,
    max_grammar_size=500_000,
    verbose_errors=False,
)


@dataclass(slots=True)
class Automaton:
    """A compiled source. `matcher` is never advanced: each request takes a copy, and copies share what grows with use.
    Not `usable` any more once that has failed a request, such as by growing to its limit."""

    matcher: LLMatcher
    tokens: GrammarTokens
    usable: bool = True


@dataclass(frozen=True, slots=True)
class CompiledGrammar:
    """A grammar ready for requests. `automaton` is None where the grammar only forbids."""

    grammar: Grammar
    automaton: Automaton | None


class GrammarCompiler:
    """`submit` gives a Future of a CompiledGrammar, or of RequestRefused (code `invalid_grammar`).

    `tokens` is a str where this engine can take no grammars: the reason. `on_done` is called, in some thread, whenever
    a future is done.
    """

    def __init__(self, tokens: GrammarTokens | str, vocab_size: int, workers: int = 2) -> None:
        self._tokens = tokens
        self._vocab_size = vocab_size
        self._pool = ThreadPoolExecutor(workers, "grammar-compile")
        self._cache: OrderedDict[str, Automaton] = OrderedDict()
        self._lock = Lock()
        self.on_done: Callable[[], None] = lambda: None

    def submit(self, grammar: Grammar) -> Future[CompiledGrammar]:
        """Starts to compile. Raises RequestRefused for what is wrong at first sight."""
        for name in ("begin_with", "begin_after", "forbidden"):
            for token in getattr(grammar, name):
                if not 0 <= token < self._vocab_size:
                    raise _refused(f"{name} names token {token}; the vocabulary has {self._vocab_size}")
        future: Future[CompiledGrammar]
        if grammar.source is None:
            future = Future()
            future.set_result(CompiledGrammar(grammar, None))
            return future
        if isinstance(self._tokens, str):
            raise _refused(f"this engine takes no grammars: {self._tokens}")
        if len(grammar.source) > MAX_SOURCE_CHARS:
            raise _refused(f"it has {len(grammar.source)} characters; at most {MAX_SOURCE_CHARS} are taken")
        future = self._pool.submit(self._compile, grammar, self._tokens)
        future.add_done_callback(lambda _: self.on_done())
        return future

    def _compile(self, grammar: Grammar, tokens: GrammarTokens) -> CompiledGrammar:
        source = grammar.source
        assert source is not None
        with self._lock:
            automaton = self._cache.get(source)
            if automaton is not None:
                self._cache.move_to_end(source)
        if automaton is None or not automaton.usable:
            automaton = Automaton(_compile(source, tokens), tokens)
            self._keep(source, automaton)
        first = automaton.matcher.deep_copy()
        if grammar.begin_with and not any(first.validate_tokens([token]) for token in grammar.begin_with):
            raise _refused(f"it cannot begin with any of the tokens {list(grammar.begin_with)}")
        return CompiledGrammar(grammar, automaton)

    def _keep(self, source: str, automaton: Automaton) -> None:
        with self._lock:
            self._cache[source] = automaton
            self._cache.move_to_end(source)
            while len(self._cache) > CACHED_GRAMMARS or sum(map(len, self._cache)) > CACHED_CHARS:
                self._cache.popitem(last=False)


def _compile(source: str, tokens: GrammarTokens) -> LLMatcher:
    """Compiles and tries the first mask, which finds what only shows in use: a choice too wide, a language that is
    empty."""
    lark = LLMatcher.grammar_from_lark(source)
    matcher = LLMatcher(tokens.library, lark, log_level=0, limits=LIMITS)
    if matcher.is_error():
        raise _refused(error_text(matcher))
    warnings = matcher.get_grammar_warnings()
    if warnings:
        raise _refused("; ".join(warnings))
    first = matcher.deep_copy()
    if len(first.compute_ff_bytes()) > MAX_FORCED_BYTES:
        raise _refused(f"it leaves no choice for more than {MAX_FORCED_BYTES} bytes")
    mask = allocate_token_bitmask(1, tokens.size + 1)
    fill_next_token_bitmask(first, mask)
    if first.is_error():
        raise _refused(error_text(first))
    bits = np.unpackbits(mask.view(np.uint8), bitorder="little", count=tokens.size)
    if not bits.any() and not first.is_accepting():
        raise _refused("nothing matches it")
    return matcher


def error_text(matcher: LLMatcher) -> str:
    """What the library says is wrong, in one line of reasonable length."""
    lines = [line.strip() for line in matcher.get_error().splitlines()]
    text = next((line for line in lines if line and not line.startswith("<")), "unknown error")
    if text == "NoExtensionBias":
        return "nothing matches it"
    return text if len(text) <= 400 else text[:400] + "…"


def _refused(text: str) -> RequestRefused:
    return RequestRefused(f"the grammar cannot be used: {text}", INVALID)
