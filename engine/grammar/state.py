"""GrammarState: one request's way through its grammar. Knows no logits and no other request.

free ──a token of begin_with, or behind one of begin_after──▶ active ──cannot go on──▶ done
  forbidden tokens apply                                       its mask applies         the request ends
"""

from collections.abc import Collection, Sequence
from concurrent.futures import Future

from llguidance import LLMatcher

from engine.grammar.automaton import Automaton
from engine.grammar.compiler import CompiledGrammar
from engine.grammar.source import error_text, too_long
from engine.grammar.tokens import GrammarTokens
from engine.scheduling.plan import Constrained

MASKS_BETWEEN_MEASURES = 32
MAX_FORCED_TOKENS = 256  # in one step, whose length they add to; the next step goes on
# In a row, where the grammar admits anything else: no number needs as many, and a model could repeat them for ever.
MAX_DIGITS = 512
# Bytes without a quotation mark, where the grammar admits one and has JSON in it: the longest string that no schema
# bounds.
MAX_STRING = 64 * 1024
QUOTATION_MARK, BACKSLASH = b'"\\'


class GrammarState:
    """Built from the output so far (of a request that was preempted), so that it stands where the request stands.

    `stop` are the tokens that end the request; before `min_tokens` of output they do not. With `forcing`, tokens that
    the grammar leaves no choice about are handed out instead of being sampled.
    """

    def __init__(
        self, compiled: CompiledGrammar, output: Sequence[int], stop: Collection[int], min_tokens: int, forcing: bool
    ) -> None:
        grammar = compiled.grammar
        self._compiled = compiled
        self._grammar = grammar
        self.stop = frozenset(stop)
        self.error: str | None = None
        self._forbidden = list(grammar.forbidden)
        self._min_tokens = min_tokens
        self._forcing = forcing
        self._length = 0
        self._matcher: LLMatcher | None = None
        self._consumed: list[int] = []
        self._masks = 0
        self._digits = 0  # that the text so far ends with
        self._unquoted = 0  # bytes since the last quotation mark that was not escaped
        self._escaped = False  # the next byte is
        self._has_json = grammar.source is not None and "%json" in grammar.source
        self._fresh: Future[CompiledGrammar] | None = None
        self._stopped = False  # by a stop token
        if grammar.source is not None and not grammar.begin_with and not grammar.begin_after:
            self._begin()
        for token in output:
            self._take(token)

    @property
    def matcher(self) -> LLMatcher | None:
        """What says which tokens may come next; None while the model is free."""
        return self._matcher

    @property
    def constrains(self) -> bool:
        """Whether there may ever be a matcher: else the grammar is free for good and only forbids tokens."""
        return self._grammar.source is not None

    @property
    def automaton(self) -> Automaton | None:
        """What `matcher` is a copy of."""
        return self._compiled.automaton

    @property
    def tokens(self) -> GrammarTokens:
        """The vocabulary of `matcher`."""
        assert self.automaton is not None
        return self.automaton.tokens

    @property
    def forbidden(self) -> list[int]:
        """The tokens that must not come next, besides what the matcher says."""
        return [] if self._matcher is not None else self._forbidden

    @property
    def may_stop(self) -> bool:
        """Whether a stop token may come next: the text so far matches, and is as long as asked for."""
        return self._matcher is not None and self._matcher.is_accepting() and self._length >= self._min_tokens

    @property
    def has_digits_enough(self) -> bool:
        """Whether further digits are out of the choice, if there is another."""
        return self._digits >= MAX_DIGITS

    @property
    def has_string_enough(self) -> bool:
        """Whether only tokens with a quotation mark are in the choice, if there are any."""
        return self._has_json and self._unquoted >= MAX_STRING and not self._escaped

    def advance(self, token: int) -> Constrained | None:
        """The request goes on with `token`, which was sampled. Returns what follows from that, if anything does."""
        self._take(token)
        matcher = self._matcher
        if matcher is None:
            return None  # free
        forced: list[int] = []
        while self.error is None and not (self._stopped or matcher.is_stopped()) and len(forced) < MAX_FORCED_TOKENS:
            run = self._forced_run(matcher)
            if not run:
                break
            for forced_token in run[: MAX_FORCED_TOKENS - len(forced)]:
                forced.append(forced_token)
                if self._take(forced_token):
                    break
        if self.error is not None:
            return Constrained(error=self.error)
        done = matcher.is_stopped()
        return Constrained(forced, done, self._stopped) if forced or done or token in self.stop else None

    def fail(self, text: str) -> Constrained:
        """The request cannot go on under its grammar."""
        if self.automaton is not None:
            self.automaton.usable = False
        self.error = f"the grammar cannot be followed further: {text}"
        return Constrained(error=self.error)

    def refresh(self) -> None:
        """Between steps: moves to a fresh automaton when this one is worn and that is compiled."""
        if self._matcher is None or self.automaton is None or self.automaton.usable or self.error is not None:
            return
        if self._fresh is None:
            self._fresh = self._compiled.compiler.submit(self._grammar)
        if not self._fresh.done() or self._fresh.exception() is not None:
            return  # goes on with what it has
        automaton = self._fresh.result().automaton
        assert automaton is not None
        matcher = automaton.matcher.deep_copy()
        if matcher.try_consume_tokens(self._consumed) == len(self._consumed):
            automaton.measure(matcher)
            automaton.needed_bytes = automaton.grown_bytes
            self._compiled.automaton, self._matcher, self._fresh = automaton, matcher, None

    def count_mask(self) -> None:
        """To be called for each mask of `matcher`. Has its automaton measured: often at first, since most that it will
        ever see is new then."""
        self._masks += 1
        if self._masks % MASKS_BETWEEN_MEASURES == 0 or self._masks.bit_count() == 1:
            assert self.automaton is not None
            assert self._matcher is not None
            self._compiled.compiler.used(self.automaton, self._matcher)

    def _begin(self) -> None:
        assert self.automaton is not None, "a grammar that never begins"
        self._matcher = self.automaton.matcher.deep_copy()

    def _take(self, token: int) -> bool:
        """The request goes on with `token`. Returns whether it ends with that, as a stop token."""
        self._length += 1
        grammar = self._grammar
        if self._matcher is None:
            if grammar.source is None:
                return False
            if token in grammar.begin_after:
                self._begin()
                return False
            if token not in grammar.begin_with:
                return False
            self._begin()
        matcher = self._matcher
        assert matcher is not None
        if token in self.stop and self._length > self._min_tokens and matcher.is_accepting():
            self._stopped = True  # the end of the request is not part of the text that matches
            return True
        self._consumed.append(token)
        text = self.tokens.library.decode_bytes([token])
        behind = len(text) - len(text.rstrip(b"0123456789"))
        self._digits = behind if behind < len(text) else self._digits + behind
        if self._has_json:
            self._count_unquoted(text)
        if self.error is None and not matcher.consume_token(token):
            self.fail(error_text(matcher))
        return False

    def _count_unquoted(self, text: bytes) -> None:
        if b'"' not in text and b"\\" not in text:
            self._unquoted += len(text)
            self._escaped = False
            return
        for byte in text:
            quotes = byte == QUOTATION_MARK and not self._escaped
            self._unquoted = 0 if quotes else self._unquoted + 1
            self._escaped = byte == BACKSLASH and not self._escaped

    def _forced_run(self, matcher: LLMatcher) -> list[int]:
        """The next tokens that are without alternative, up to a bound of their text."""
        reason = too_long(matcher.compute_ff_bytes())
        if reason is not None:
            self.fail(reason)
            return []
        if not self._forcing:
            return []
        run, end = matcher.compute_ff_tokens(), self.tokens.end
        return run[: run.index(end)] if end in run else run
