"""GrammarState: one request's way through its grammar. Knows no logits and no other request.

free ──a token of begin_with, or behind one of begin_after──▶ active ──cannot go on──▶ done
  forbidden tokens apply                                       its mask applies         the request ends
"""

from collections.abc import Collection, Sequence

from llguidance import LLMatcher

from engine.grammar.compiler import MAX_FORCED_BYTES, CompiledGrammar, error_text
from engine.grammar.tokens import GrammarTokens
from engine.scheduling.plan import Constrained


class GrammarState:
    """Built from the output so far (of a request that was preempted), so that it stands where the request stands.

    `stop` are the tokens that end the request; before `min_tokens` of output they do not. With `forcing`, tokens that
    the grammar leaves no choice about are handed out instead of being sampled.
    """

    def __init__(
        self, compiled: CompiledGrammar, output: Sequence[int], stop: Collection[int], min_tokens: int, forcing: bool
    ) -> None:
        grammar = compiled.grammar
        self._grammar = grammar
        self._automaton = compiled.automaton
        self.stop = frozenset(stop)
        self.error: str | None = None
        self._forbidden = list(grammar.forbidden)
        self._min_tokens = min_tokens
        self._forcing = forcing
        self._length = 0
        self._matcher: LLMatcher | None = None
        if grammar.source is not None and not grammar.begin_with and not grammar.begin_after:
            self._begin()
        for token in output:
            self._take(token)

    @property
    def matcher(self) -> LLMatcher | None:
        """What says which tokens may come next; None while the model is free."""
        return self._matcher

    @property
    def tokens(self) -> GrammarTokens:
        """The vocabulary of `matcher`."""
        assert self._automaton is not None
        return self._automaton.tokens

    @property
    def forbidden(self) -> list[int]:
        """The tokens that must not come next, besides what the matcher says."""
        return [] if self._matcher is not None else self._forbidden

    @property
    def may_stop(self) -> bool:
        """Whether a stop token may come next: the text so far matches, and is as long as asked for."""
        return self._matcher is not None and self._matcher.is_accepting() and self._length >= self._min_tokens

    def advance(self, token: int) -> Constrained | None:
        """The request goes on with `token`, which was sampled. Returns what follows from that, if anything does."""
        self._take(token)
        matcher = self._matcher
        if matcher is None or self._ends(token):
            return None  # free, or at its end
        forced: list[int] = []
        while self.error is None and not matcher.is_stopped() and (run := self._forced_run(matcher)):
            for forced_token in run:
                forced.append(forced_token)
                self._take(forced_token)
                if self._ends(forced_token):
                    return Constrained(forced)
        if self.error is not None:
            return Constrained(error=self.error)
        done = matcher.is_stopped()
        return Constrained(forced, done) if forced or done else None

    def fail(self, text: str) -> Constrained:
        """The request cannot go on under its grammar."""
        if self._automaton is not None:
            self._automaton.usable = False
        self.error = f"the grammar cannot be followed further: {text}"
        return Constrained(error=self.error)

    def _begin(self) -> None:
        assert self._automaton is not None, "a grammar that never begins"
        self._matcher = self._automaton.matcher.deep_copy()

    def _ends(self, token: int) -> bool:
        """Whether the request ends with `token`, its newest, because that is a stop token."""
        return token in self.stop and self._length > self._min_tokens

    def _take(self, token: int) -> None:
        self._length += 1
        grammar = self._grammar
        if self._matcher is None:
            if grammar.source is None:
                return
            if token in grammar.begin_after:
                self._begin()
                return
            if token not in grammar.begin_with:
                return
            self._begin()
        matcher = self._matcher
        assert matcher is not None
        if self._ends(token):
            return  # the end of the request is not part of the text that matches
        if self.error is None and not matcher.consume_token(token):
            self.fail(error_text(matcher))

    def _forced_run(self, matcher: LLMatcher) -> list[int]:
        """The next tokens that are without alternative, up to a bound of their text."""
        if len(matcher.compute_ff_bytes()) > MAX_FORCED_BYTES:
            self.fail(f"it leaves no choice for more than {MAX_FORCED_BYTES} bytes")
            return []
        if not self._forcing:
            return []
        run, end = matcher.compute_ff_tokens(), self.tokens.end
        return run[: run.index(end)] if end in run else run
