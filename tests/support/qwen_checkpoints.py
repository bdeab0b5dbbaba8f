"""Checkpoints of Qwen's families without weights: byte-level tokenizers with the published templates, or the published
tokenizer where it is at hand."""

import json
import random
import shutil
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jsonschema
from support.dialect_answers import matcher_of, read_answer
from support.tiny_tokenizers import PAIRS, write_byte_tokenizer

from engine import Grammar
from engine.grammar.compiler import GrammarCompiler
from engine.grammar.tokens import load_grammar_tokens
from server.conversation import Conversation, Message, OutputContract, Tool
from server.dialects.qwen import QwenDialect
from server.dialects.registry import load_dialect
from server.text.tokenizer import Tokenizer, load_tokenizer

TEMPLATES = Path(__file__).parents[1] / "data" / "qwen3"
PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "models" / "qwen3-moe"
CONTROL = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>"),
    *("<tool_response>", "</tool_response>", "<think>", "</think>"),
)
# Tokens that reach over the borders of tags.
TAGS = ("\n</", "\n</parameter", "</parameter>", ">\n", ">\n<", "<parameter=", "<function=", "</function>\n", "\n\n\n")


@cache
def tokens(published: bool) -> tuple[Tokenizer, GrammarCompiler]:
    """The tokenizer, byte-level or the published one, and a compiler of grammars over it."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        if published:
            shutil.copy(PUBLISHED / "tokenizer.json", folder)
        else:
            write_byte_tokenizer(folder, CONTROL, (*PAIRS, *TAGS))
        tokenizer = load_tokenizer(folder)
        grammar_tokens = load_grammar_tokens(folder, tokenizer.vocab_size)
    return tokenizer, GrammarCompiler(grammar_tokens, tokenizer.vocab_size)


class QwenCheckpoint:
    """A checkpoint with one of the templates, and what its grammars are compiled with."""

    def __init__(self, folder: Path, template: str = "chat_template.jinja", *, published: bool = False) -> None:
        shutil.copy(TEMPLATES / template, folder / "chat_template.jinja")
        (folder / "config.json").write_text(json.dumps({"model_type": "qwen3_moe"}))
        self.tokenizer, self.compiler = tokens(published)
        self.control = self.tokenizer.control_tokens
        self.end = self.control["<|im_end|>"]
        dialect = load_dialect(folder, self.tokenizer)
        assert isinstance(dialect, QwenDialect)
        self.dialect = dialect

    def tokens(self, *parts: str) -> list[int]:
        """Control tokens where a part is the text of one, anything else as plain text."""
        return [
            token
            for part in parts
            for token in ([self.control[part]] if part in self.control else self.tokenizer.encode(part))
        ]

    def text(self, token_ids: list[int]) -> str:
        return b"".join(map(self.tokenizer.token_bytes, token_ids)).decode()

    def turn(self, conversation: Conversation, answer: Message) -> list[int]:
        """What the template makes of an answer: the tokens that the model would have written."""
        prompt = self.dialect.render(conversation)
        messages = (*conversation.messages, answer)
        whole = self.dialect.render(Conversation(messages, conversation.tools, add_generation_prompt=False))
        assert whole[: len(prompt)] == prompt
        return whole[len(prompt) : len(whole) - 1 - whole[::-1].index(self.end)]

    def admits(self, conversation: Conversation, contract: OutputContract, token_ids: list[int]) -> bool:
        """Whether the grammar takes the tokens, as a request would meet them, to an end."""
        grammar = self.dialect.grammar(conversation, contract)
        assert grammar is not None
        assert grammar.source is not None
        automaton = self.compiler.submit(grammar).result(20).automaton
        assert automaton is not None
        begins = [n for n, token in enumerate(token_ids) if token in grammar.begin_with]
        begins += [n + 1 for n, token in enumerate(token_ids) if token in grammar.begin_after]
        free = bool(grammar.begin_with or grammar.begin_after)
        start = min(begins) if begins else len(token_ids) if free else 0
        assert not set(token_ids[:start]) & set(grammar.forbidden)
        matcher = automaton.matcher.deep_copy()
        return bool(matcher.consume_tokens(token_ids[start:])) and matcher.is_accepting()


class DeadEnd(Exception):
    """A grammar that can be begun and not ended."""


def walk(qwen: QwenCheckpoint, grammar: Grammar, seed: int, first: tuple[str, ...] = ()) -> list[int]:
    """Random tokens that the grammar admits, behind `first`; what ends a value is taken sooner than chance would."""
    rng, matcher, said = random.Random(seed), matcher_of(qwen.compiler, grammar), qwen.tokens(*first)
    assert matcher.consume_tokens(said)
    endings = [qwen.tokens(text) for text in ("\n</parameter>\n", '"', "}", "]", "</function>\n")]
    while not matcher.is_stopped() and not (matcher.is_accepting() and rng.random() < 0.5):
        assert len(said) < 3000
        if rng.random() < 0.4:
            ready = [ending for ending in endings if matcher.validate_tokens(ending) == len(ending)]
            if ready:
                said += (taken := rng.choice(ready))
                assert matcher.consume_tokens(taken)
                continue
        mask = matcher.compute_bitmask()
        admitted = [token for token in range(qwen.tokenizer.vocab_size) if mask[token // 8] >> token % 8 & 1]
        if not admitted:
            raise DeadEnd
        said.append(rng.choice(admitted))
        assert matcher.consume_token(said[-1])
    return said


def read(
    qwen: QwenCheckpoint, token_ids: list[int], conversation: Conversation, contract: OutputContract
) -> dict[str, Any]:
    return read_answer(qwen.dialect.output_parser(conversation, contract), qwen.tokenizer, token_ids, stop=qwen.end)


def check_calls(answer: dict[str, Any], tools: tuple[Tool, ...], names: set[str] | None = None) -> None:
    schemas = {tool.name: {"type": "object"} | (tool.parameters or {"maxProperties": 0}) for tool in tools}
    for call in answer["calls"]:
        assert call["complete"]
        assert call["name"] in (names or schemas)
        jsonschema.validate(
            json.loads(call["arguments"]), schemas[call["name"]], format_checker=jsonschema.FormatChecker()
        )
