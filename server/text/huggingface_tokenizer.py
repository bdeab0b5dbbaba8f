"""Hugging Face `tokenizer.json` with byte-level BPE (DeepSeek V3, Qwen3, and most since GPT-2).

The library matches added tokens inside text, and its own switch against that spares those not flagged special
(`<think>`, `<tool_call>`). So the control tokens are taken out of the description before it is loaded
(engine/vocabulary.py): text that holds none of them is cut, normalised and merged exactly as before, and no text can
produce one.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import tokenizers

from engine import ConfigError, HuggingFaceVocabulary, parse_huggingface_vocabulary, read_huggingface_vocabulary
from server.text.well_formed import well_formed


class HuggingFaceTokenizer:
    """See the module. Built from the parsed content of a `tokenizer.json`, or a vocabulary read from one."""

    def __init__(self, source: dict[str, Any] | HuggingFaceVocabulary) -> None:
        vocabulary = parse_huggingface_vocabulary(source) if isinstance(source, dict) else source
        self.control_tokens: Mapping[str, int] = vocabulary.control_tokens
        self._control_ids = frozenset(self.control_tokens.values())
        self._bytes = vocabulary.token_bytes
        self.vocab_size = len(self._bytes)
        self._tokenizer = tokenizers.Tokenizer.from_str(json.dumps(vocabulary.description))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads `tokenizer.json`. Raises ConfigError if it is damaged or not byte-level BPE."""
        vocabulary = read_huggingface_vocabulary(folder)
        try:
            return cls(vocabulary)
        except Exception as error:  # the library raises bare Exception
            path = folder / "tokenizer.json"
            raise ConfigError(f"{path} is not a tokenizer that can be loaded: {error!r}") from error

    def encode(self, text: str) -> list[int]:
        token_ids: list[int] = self._tokenizer.encode(well_formed(text), add_special_tokens=False).ids
        return token_ids

    def is_control(self, token_id: int) -> bool:
        return token_id in self._control_ids

    def token_bytes(self, token_id: int) -> bytes:
        return self._bytes[token_id] if 0 <= token_id < self.vocab_size else b""
