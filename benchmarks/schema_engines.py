"""Ways from a JSON Schema to what admits or refuses texts, for benchmarks/schema_coverage.py: the server's own, and the
libraries that others use, as they come.

abruzzi      checked and narrowed by server/json_schema.py, compiled by the engine
llguidance   the library that the engine uses, given the schema as it is; blanks nowhere
xgrammar     if it is installed; strict_mode off, so that it does not close objects that the schema leaves open

The libraries are given each schema in a process of its own, which is ended after SECONDS: they may crash.
"""

import json
import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Literal, Protocol

from llguidance import LLMatcher

from engine.errors import RequestRefused
from engine.grammar.compiler import GrammarCompiler
from engine.grammar.tokens import GrammarTokens
from engine.messages import Grammar
from server.json_schema import SchemaError, enforceable

Verdict = Literal["compiled", "refused by name", "refused by the compiler", "timed out", "crashed"]
Accepts = Callable[[str], bool]
SECONDS = 30.0


class SchemaEngine(Protocol):
    """`compile` gives a verdict, what was said of a refusal, and what takes texts, unless it was refused."""

    def compile(self, schema: Any) -> tuple[Verdict, str, Accepts | None]: ...


class Abruzzi:
    """The server's way."""

    isolated = False

    def __init__(self, compiler: GrammarCompiler) -> None:
        self._compiler = compiler

    def compile(self, schema: Any) -> tuple[Verdict, str, Accepts | None]:
        try:
            rewritten = enforceable(schema)
        except SchemaError as error:
            return "refused by name", str(error), None
        if rewritten is False:
            return "refused by name", "no value matches the schema false", None
        return self.compile_as_is({} if rewritten is True else rewritten)

    def compile_as_is(self, schema: dict[str, Any]) -> tuple[Verdict, str, Accepts | None]:
        """Without the check and the narrowing."""
        grammar = Grammar("start: %json " + json.dumps(schema, ensure_ascii=False))
        try:
            automaton = self._compiler.submit(grammar).result().automaton
        except RequestRefused as error:
            late = "longer than" in str(error)
            return "timed out" if late else "refused by the compiler", str(error), None
        assert automaton is not None
        return "compiled", "", lambda text: _takes(automaton.matcher.deep_copy(), automaton.tokens, text)


def _takes(matcher: LLMatcher, tokens: GrammarTokens, text: str) -> bool:
    token_ids = tokens.library.tokenize_str(text)
    return matcher.try_consume_tokens(token_ids) == len(token_ids) and matcher.is_accepting()


class RawLlguidance:
    """llguidance without this project."""

    isolated = True

    def __init__(self, tokens: GrammarTokens) -> None:
        self._tokens = tokens

    def compile(self, schema: Any) -> tuple[Verdict, str, Accepts | None]:
        options, text = {"whitespace_flexible": False}, json.dumps(schema, ensure_ascii=False)
        try:
            source = LLMatcher.grammar_from_json_schema(text, defaults=options)
        except ValueError as error:  # it takes no schemas that are true or false
            return "refused by the compiler", str(error), None
        matcher = LLMatcher(self._tokens.library, source, log_level=0)
        if matcher.is_error():
            return "refused by the compiler", matcher.get_error(), None
        return "compiled", "", lambda text: _takes(matcher.deep_copy(), self._tokens, text)


class Xgrammar:
    """xgrammar over the 256 bytes. Raises ImportError."""

    isolated = True

    def __init__(self) -> None:
        import xgrammar  # type: ignore[import-not-found, unused-ignore]

        vocabulary = [*(bytes([byte]) for byte in range(256)), b"<end>"]
        raw = xgrammar.VocabType.RAW
        info = xgrammar.TokenizerInfo(vocabulary, vocab_type=raw, vocab_size=257, stop_token_ids=[256])
        self._matcher = xgrammar.GrammarMatcher
        self._compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)

    def compile(self, schema: Any) -> tuple[Verdict, str, Accepts | None]:
        try:
            text = json.dumps(schema, ensure_ascii=False)
            compiled = self._compiler.compile_json_schema(text, strict_mode=False)
        except Exception as error:
            return "refused by the compiler", str(error), None

        def accepts(text: str) -> bool:
            matcher = self._matcher(compiled)
            return bool(matcher.accept_string(text) and matcher.accept_token(256))

        return "compiled", "", accepts


def in_child(work: Callable[[], Any]) -> Any:
    """What `work` returns, from a forked process; "timed out" or "crashed" if that does not come to its end."""
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)

    def told(connection: Connection) -> None:
        connection.send(work())

    child = context.Process(target=told, args=(sending,))
    child.start()
    sending.close()
    try:
        return receiving.recv() if receiving.poll(SECONDS) else "timed out"
    except EOFError:
        return "crashed"
    finally:
        child.kill()
        child.join()
