"""What is asked of llguidance: to compile a source within limits, and to say what is wrong in one line. Shared by the
engine and by the process that tries grammars first. Knows no request and no cache.
"""

import re
import threading
from collections.abc import Callable

import numpy as np
from llguidance import LLMatcher, LLParserLimits, LLTokenizer
from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask

# The library makes forced text into tokens within each mask, in time that grows with the square of a word's length.
MAX_FORCED_BYTES, MAX_FORCED_WORD = 32 * 1024, 4096
# Its compiler descends into rules: a chain of 60,000 of them, more than it takes, was seen to need less than this.
STACK_BYTES = 512 * 2**20

# A row of 20,000 items holds a choice of some thousand tools; a mask within these takes some 10 ms at most. States of
# the lexer grow with use: an automaton is replaced long before (engine/grammar/automaton.py). `verbose_errors` adds
# what `lexer_cost` reads.
LIMITS = LLParserLimits(
    max_items_in_row=20_000,
    initial_lexer_fuel=1_000_000,
    step_lexer_fuel=200_000,
    step_max_items=100_000,
    max_lexer_states=250_000,
    max_grammar_size=500_000,
    verbose_errors=True,
)
# What the library says of a fault that has a way out, and that way.
_PLAINER = {
    "NoExtensionBias": "nothing matches it",
    "oneOf constraints are not supported": "the alternatives of a oneOf may overlap: use anyOf, or give each a "
    "required property with a const of its own",
    "assertion failed: grammar.symbols.len()": "it is too large: it has more than 65,000 symbols",
    "too many states": "it branches too much: simplify its regular expressions, above all repetitions of . or of "
    "classes of characters behind one another",
}


class GrammarError(ValueError):
    """A grammar that cannot be used; the text, for the client, says why."""


def compile_source(source: str, library: LLTokenizer, size: int) -> LLMatcher:
    """Compiles and tries the first mask over `size` tokens, which finds what only shows in use: a choice too wide, a
    language that is empty. Needs a stack of STACK_BYTES (`with_deep_stack`). Raises GrammarError."""
    matcher = LLMatcher(library, LLMatcher.grammar_from_lark(source), log_level=0, limits=LIMITS)
    if matcher.is_error():
        raise GrammarError(error_text(matcher))
    warnings = matcher.get_grammar_warnings()
    if warnings:
        raise GrammarError("; ".join(warnings))
    first = matcher.deep_copy()
    forced = too_long(first.compute_ff_bytes())
    if forced is not None:
        raise GrammarError(forced)
    mask = allocate_token_bitmask(1, size + 1)
    fill_next_token_bitmask(first, mask)
    if first.is_error():
        raise GrammarError(error_text(first))
    bits = np.unpackbits(mask.view(np.uint8), bitorder="little", count=size)
    if not bits.any() and not first.is_accepting():
        raise GrammarError("nothing matches it")
    return matcher


def too_long(forced: bytes) -> str | None:
    """Why so much text without alternative takes too long to handle, if it does."""
    if len(forced) > MAX_FORCED_BYTES:
        return f"it leaves no choice for more than {MAX_FORCED_BYTES} bytes: shorten its constants"
    if len(forced) > MAX_FORCED_WORD and max(map(len, re.split(rb"[\s\d\"',.:;/_-]+", forced))) > MAX_FORCED_WORD:
        return f"a constant has a word of more than {MAX_FORCED_WORD} bytes: shorten it"
    return None


def error_text(matcher: LLMatcher) -> str:
    """What the library says is wrong, in one line of reasonable length."""
    lines = [line.strip() for line in matcher.get_error().splitlines()]
    text = next((line for line in lines if line and not line.startswith("<")), "unknown error")
    for sign, plain in _PLAINER.items():
        if sign in text:
            place = re.match(r"at \d+\(\d+\): ", text)
            return (place.group() if place else "") + plain
    return text if len(text) <= 400 else text[:400] + "…"


def lexer_cost(matcher: LLMatcher, size: int) -> int:
    """The work that went into the lexer's automaton, which a matcher shares with its copies. The library tells it only
    in its errors: a copy is brought into one."""
    copy = matcher.deep_copy()
    fill_next_token_bitmask(copy, allocate_token_bitmask(1, size + 1))
    copy.consume_token(size + 1)  # there is no such token
    found = re.search(r'"lexer_cost": (\d+)', copy.get_error())
    return int(found.group(1)) if found else 0


_starting = threading.Lock()


def with_deep_stack(work: Callable[[], None]) -> None:
    """Runs `work` in a thread with a stack of STACK_BYTES, of which only what is used takes memory."""
    with _starting:
        before = threading.stack_size(STACK_BYTES)
        try:
            thread = threading.Thread(target=work, name="grammar-deep", daemon=True)
            thread.start()
        finally:
            threading.stack_size(before)
    thread.join()
