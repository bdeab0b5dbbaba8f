"""GrammarCompiler: grammars are compiled in threads of their own, cached, and bounded in time and memory. A grammar
that is wrong, or too costly, is refused; nothing else notices. Knows no step, no row and no scheduler.

    submit ── known? ──▶ at once
       └──▶ quick: tried for QUICK_SECONDS ── over ──▶ slow: tried for SLOW_SECONDS ── over ──▶ refused
               └── compiled here                          └── compiled here
"""

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

from llguidance import LLMatcher

from engine.errors import RequestRefused
from engine.grammar.automaton import MIN_BYTES, Automaton, AutomatonCache
from engine.grammar.source import GrammarError, compile_source, with_deep_stack
from engine.grammar.tokens import GrammarTokens
from engine.grammar.trial import GrammarTrial, OutOfTime
from engine.messages import Grammar

INVALID, BUSY = "invalid_grammar", "engine_busy"

MAX_SOURCE_CHARS = 2**20
# Of processor time, for a trial. Ordinary grammars take some milliseconds, 300 tools 0.15 s.
QUICK_SECONDS, SLOW_SECONDS = 0.25, 2.0
# From the request's arrival until its grammar is ready, waiting for others' grammars included.
COMPILE_SECONDS = 10.0
REFUSALS_KEPT = 256
DEFAULT_BYTES = 256 * 2**20


@dataclass(slots=True)
class CompiledGrammar:
    """A grammar ready for one request. `automaton` is None where the grammar only forbids, and replaced when it is
    worn."""

    grammar: Grammar
    automaton: Automaton | None
    compiler: "GrammarCompiler"


class GrammarCompiler:
    """`submit` gives a Future of a CompiledGrammar, or of RequestRefused (code `invalid_grammar`, or `engine_busy` when
    there is no memory for it now).

    `tokens` is a str where this engine can take no grammars: the reason. `max_bytes` is for all compiled grammars
    together. `on_done` is called, in some thread, whenever a future is done.
    """

    def __init__(self, tokens: GrammarTokens | str, vocab_size: int, max_bytes: int = DEFAULT_BYTES) -> None:
        self._tokens = tokens
        self._vocab_size = vocab_size
        self._quick, self._slow = _Lane("quick", tokens, QUICK_SECONDS), _Lane("slow", tokens, SLOW_SECONDS)
        self._cache = AutomatonCache(max_bytes)
        self._refusals: OrderedDict[str, str] = OrderedDict()
        self._lock = Lock()
        self.on_done: Callable[[], None] = lambda: None

    @property
    def live_bytes(self) -> int:
        """What compiled grammars take, in use or kept."""
        with self._lock:
            return self._cache.live_bytes

    def submit(self, grammar: Grammar) -> Future[CompiledGrammar]:
        """Starts to compile. Raises RequestRefused for what is wrong at first sight."""
        for name in ("begin_with", "begin_after", "forbidden"):
            for token in getattr(grammar, name):
                if not 0 <= token < self._vocab_size:
                    raise _refused(f"{name} names token {token}; the vocabulary has {self._vocab_size}")
        future: Future[CompiledGrammar] = Future()
        if grammar.source is None:
            future.set_result(CompiledGrammar(grammar, None, self))
            return future
        if isinstance(self._tokens, str):
            raise _refused(f"this engine takes no grammars: {self._tokens}")
        if len(grammar.source) > MAX_SOURCE_CHARS:
            raise _refused(f"it has {len(grammar.source):,} characters; at most {MAX_SOURCE_CHARS:,} are taken")
        future.add_done_callback(lambda _: self.on_done())
        if not self._known(grammar, future):
            self._quick.pool.submit(self._compile, self._quick, grammar, future)
        return future

    def used(self, automaton: Automaton, matcher: LLMatcher) -> None:
        """To be called now and then for an automaton of which `matcher` has been used: keeps its growth in bounds."""
        automaton.measure(matcher)
        with self._lock:
            self._cache.wear_out(automaton)

    def _known(self, grammar: Grammar, future: Future[CompiledGrammar]) -> bool:
        """Answers from the cache, if it can."""
        source = grammar.source or ""
        with self._lock:
            refusal, automaton = self._refusals.get(source), self._cache.find(source)
        if refusal is not None:
            _settle(future, _refused(refusal))
        elif automaton is not None:
            self._ready(grammar, automaton, future)
        return refusal is not None or automaton is not None

    def _compile(self, lane: "_Lane", grammar: Grammar, future: Future[CompiledGrammar]) -> None:
        if future.cancelled() or self._known(grammar, future):
            return
        source = grammar.source or ""
        try:
            automaton = self._automaton(source, lane)
        except OutOfTime:
            if lane is self._quick:
                self._slow.pool.submit(self._compile, self._slow, grammar, future)
            else:
                self._refuse(source, f"compiling it takes longer than {SLOW_SECONDS:.0f} s: make it simpler", future)
        except GrammarError as error:
            self._refuse(source, str(error), future)
        except Exception as error:  # nobody else would tell the request
            _settle(future, error)
        else:
            self._ready(grammar, automaton, future)

    def _automaton(self, source: str, lane: "_Lane") -> Automaton:
        """Tries the source, makes room for what that took, and compiles it here."""
        assert isinstance(self._tokens, GrammarTokens)
        size = max(MIN_BYTES, lane.trial.run(source, lane.seconds))
        if size > self._cache.max_bytes // 4:
            most = self._cache.max_bytes // 4 // 2**20
            text = f"compiled, it takes {size // 2**20} MiB; at most {most} MiB are given to one"
            raise GrammarError(f"{text}: use fewer tools, or smaller schemas and expressions")
        with self._lock:
            if not self._cache.reserve(size):
                raise RequestRefused("the grammars in use leave no memory for another now: try again later", BUSY)
        try:
            automaton = Automaton(source, _compiled_here(source, self._tokens), self._tokens, size)
            automaton.measure(automaton.matcher)
            with self._lock:
                self._cache.keep(automaton)
        finally:
            with self._lock:
                self._cache.reserved_bytes -= size
        return automaton

    def _ready(self, grammar: Grammar, automaton: Automaton, future: Future[CompiledGrammar]) -> None:
        first = automaton.matcher.deep_copy()
        if grammar.begin_with and not any(first.validate_tokens([token]) for token in grammar.begin_with):
            _settle(future, _refused(f"it cannot begin with any of the tokens {list(grammar.begin_with)}"))
        else:
            _settle(future, CompiledGrammar(grammar, automaton, self))

    def _refuse(self, source: str, text: str, future: Future[CompiledGrammar]) -> None:
        with self._lock:
            self._refusals[source] = text
            while len(self._refusals) > REFUSALS_KEPT or sum(map(len, self._refusals)) > MAX_SOURCE_CHARS:
                self._refusals.popitem(last=False)
        _settle(future, _refused(text))


class _Lane:
    """A thread with a process that tries grammars for `seconds` each."""

    def __init__(self, name: str, tokens: GrammarTokens | str, seconds: float) -> None:
        self.pool = ThreadPoolExecutor(1, f"grammar-{name}")
        self.trial = GrammarTrial(() if isinstance(tokens, str) else tokens.control_names)
        self.seconds = seconds


def _compiled_here(source: str, tokens: GrammarTokens) -> LLMatcher:
    outcome: list[LLMatcher | BaseException] = []

    def work() -> None:
        try:
            outcome.append(compile_source(source, tokens.library, tokens.size))
        except BaseException as error:  # the library panics with one that is no Exception
            outcome.append(error)

    with_deep_stack(work)
    if isinstance(outcome[0], LLMatcher):
        return outcome[0]
    raise outcome[0] if isinstance(outcome[0], GrammarError) else GrammarError(str(outcome[0]))


def _settle(future: Future[CompiledGrammar], outcome: CompiledGrammar | Exception) -> None:
    """Unless nobody waits any more."""
    if not future.set_running_or_notify_cancel():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def _refused(text: str) -> RequestRefused:
    return RequestRefused(f"the grammar cannot be used: {text}", INVALID)
