"""GrammarTokens: the checkpoint's vocabulary as llguidance needs it. Knows no grammar and no request.

    ids   0 ........ size-1 | size
          the checkpoint's  | END: the library's end of sequence, which no model can sample

An end token of its own keeps two questions apart: what a grammar admits is the library's answer; when a request may
end is ours (the bit of END says that the text so far matches).
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tokenizers
from llguidance import LLTokenizer, TokenizerWrapper
from numpy.typing import NDArray

from engine.errors import ConfigError
from engine.vocabulary import (
    SPLIT_PATTERN,
    HuggingFaceVocabulary,
    TiktokenVocabulary,
    read_huggingface_vocabulary,
    read_tiktoken_vocabulary,
)

QUOTE = re.compile(rb'(?s:[^"\\]|\\.)*"')  # text up to its first quotation mark that is not escaped


@dataclass(frozen=True, slots=True)
class GrammarTokens:
    """`size` token ids and the library's trie over their bytes. Control tokens have names, which text never matches."""

    size: int
    library: LLTokenizer
    control_names: tuple[str, ...]
    digits_V: NDArray[np.bool_]  # which tokens begin with a digit
    quotes_V: NDArray[np.bool_]  # which tokens have a quotation mark that is not escaped within them

    @classmethod
    def of(cls, size: int, library: LLTokenizer, control_names: Iterable[str]) -> "GrammarTokens":
        """With what is known from the library."""
        texts = [library.decode_bytes([token]) for token in range(size)]
        digits = np.fromiter((text[:1].isdigit() for text in texts), np.bool_, size)
        quotes = np.fromiter((bool(QUOTE.match(text)) for text in texts), np.bool_, size)
        return cls(size, library, tuple(control_names), digits, quotes)

    @property
    def end(self) -> int:
        """The id that stands for the end of what a grammar matches."""
        return self.size


def load_grammar_tokens(folder: Path, model_vocab_size: int) -> GrammarTokens:
    """Reads the vocabulary of a checkpoint. For 160,000 tokens this takes most of a second, during which no other
    Python thread runs, and 110 MB: do it before the first step. Raises ConfigError."""
    if (folder / "tiktoken.model").is_file():
        tokens = _of_tiktoken(read_tiktoken_vocabulary(folder))
    elif (folder / "tokenizer.json").is_file():
        tokens = _of_huggingface(read_huggingface_vocabulary(folder))
    else:
        raise ConfigError(f"{folder} has no tokenizer: expected tiktoken.model or tokenizer.json in it")
    if tokens.size > model_vocab_size:
        raise ConfigError(f"the tokenizer in {folder} has {tokens.size} tokens, but the model only {model_vocab_size}")
    return tokens


def _of_tiktoken(vocabulary: TiktokenVocabulary) -> GrammarTokens:
    size = len(vocabulary.ranks) + len(vocabulary.control_names)
    library = LLTokenizer.from_tiktoken(  # type: ignore[attr-defined]
        encoder={token: rank for rank, token in enumerate(vocabulary.ranks)},
        special_tokens=dict(vocabulary.control_tokens),
        pattern=SPLIT_PATTERN,
        eos_token=size,
        n_vocab=size + 1,
    )
    return GrammarTokens.of(size, library, vocabulary.control_tokens)


def _of_huggingface(vocabulary: HuggingFaceVocabulary) -> GrammarTokens:
    size = len(vocabulary.token_bytes)
    library = LLTokenizer(TokenizerWrapper(_HuggingFaceEncoder(vocabulary)))
    return GrammarTokens.of(size, library, vocabulary.control_tokens)


class _HuggingFaceEncoder:
    """What `TokenizerWrapper` asks for: the tokens, and a function from text to ids that writes no control token."""

    def __init__(self, vocabulary: HuggingFaceVocabulary) -> None:
        size = len(vocabulary.token_bytes)
        self.eos_token_id = size
        self.bos_token_id = None
        names = [f"<|no_token_{token_id}|>".encode() for token_id in range(size + 1)]
        known = [*vocabulary.token_bytes, b""]
        # an id without bytes gets a name, so that no text matches it
        self.tokens = [token or name for token, name in zip(known, names, strict=True)]
        unnamed = {token_id for token_id, token in enumerate(known) if not token}
        self.special_token_ids = sorted(unnamed | set(vocabulary.control_tokens.values()))
        self._tokenizer = tokenizers.Tokenizer.from_str(json.dumps(vocabulary.description))

    def __call__(self, text: str | bytes) -> list[int]:
        if isinstance(text, bytes):  # the wrapper tries which of the two is taken
            raise TypeError("text, not bytes")
        token_ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return token_ids
