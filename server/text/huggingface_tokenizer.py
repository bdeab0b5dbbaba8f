"""Hugging Face `tokenizer.json` with byte-level BPE (DeepSeek V3, Qwen3, and most since GPT-2).

The library matches added tokens inside text, and its own switch against that spares those not flagged special
(`<think>`, `<tool_call>`). So the control tokens are taken out of the description before it is loaded: text that
holds none of them is cut, normalised and merged exactly as before, and no text can produce one.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import tokenizers

from engine import ConfigError
from server.text.checkpoint_json import read_json_object
from server.text.well_formed import well_formed


class HuggingFaceTokenizer:
    """See the module. Built from the parsed content of a `tokenizer.json`."""

    def __init__(self, description: dict[str, Any]) -> None:
        _require_byte_level(description)
        added = description.get("added_tokens") or []
        control = [token for token in added if _is_control(token)]
        self.control_tokens: Mapping[str, int] = MappingProxyType({token["content"]: token["id"] for token in control})
        self._control_ids = frozenset(self.control_tokens.values())
        vocabulary: dict[str, int] = description["model"]["vocab"]
        token_bytes = {token_id: _decode_byte_level(text) for text, token_id in vocabulary.items()}
        token_bytes.update({token["id"]: token["content"].encode() for token in added})
        self.vocab_size = max(token_bytes) + 1
        self._bytes = [token_bytes.get(token_id, b"") for token_id in range(self.vocab_size)]
        self._tokenizer = tokenizers.Tokenizer.from_str(json.dumps(self._without_control(description)))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads `tokenizer.json`. Raises ConfigError if it is damaged or not byte-level BPE."""
        path = folder / "tokenizer.json"
        description = read_json_object(path)
        try:
            return cls(description)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
        except Exception as error:  # the library raises bare Exception
            raise ConfigError(f"{path} is not a tokenizer that can be loaded: {error!r}") from error

    def encode(self, text: str) -> list[int]:
        token_ids: list[int] = self._tokenizer.encode(well_formed(text), add_special_tokens=False).ids
        return token_ids

    def is_control(self, token_id: int) -> bool:
        return token_id in self._control_ids

    def token_bytes(self, token_id: int) -> bytes:
        return self._bytes[token_id] if 0 <= token_id < self.vocab_size else b""

    def _without_control(self, description: dict[str, Any]) -> dict[str, Any]:
        """The description without control tokens, and without what would change text behind our back."""
        model = dict(description["model"])
        # Some tokenizers list control tokens in the vocabulary too. Merges do not lead there (else the library
        # refuses to load), but `ignore_merges` would.
        model["vocab"] = {text: i for text, i in model["vocab"].items() if i not in self._control_ids}
        model["dropout"] = None
        # Added tokens that the vocabulary lacks are numbered anew, without gaps: so it must list those that stay.
        words = [token for token in description.get("added_tokens") or [] if not _is_control(token)]
        model["vocab"].update({word["content"]: word["id"] for word in words})
        return description | {
            "model": model,
            "added_tokens": words,
            "post_processor": None,
            "truncation": None,
            "padding": None,
        }


def _is_control(token: dict[str, Any]) -> bool:
    """Added tokens are control tokens, save runs of blanks that some tokenizers add to spell indentation."""
    return bool(token.get("special")) or bool(token["content"].strip())


def _require_byte_level(description: dict[str, Any]) -> None:
    model = description.get("model")
    kind = model.get("type") if isinstance(model, dict) else None
    if kind != "BPE":
        raise ConfigError(f"a {kind!r} tokenizer is not supported; byte-level BPE is")
    decoder = description.get("decoder") or {}
    if decoder.get("type") != "ByteLevel":
        raise ConfigError(f"a tokenizer with a {decoder.get('type')!r} decoder is not supported; byte-level BPE is")


def _byte_alphabet() -> dict[str, int]:
    """The printable stand-in of each byte in byte-level vocabularies (GPT-2): itself if it prints, else U+0100 up."""
    alphabet: dict[str, int] = {}
    hidden = 0
    for byte in range(256):
        if 0x21 <= byte <= 0x7E or 0xA1 <= byte <= 0xAC or byte >= 0xAE:
            alphabet[chr(byte)] = byte
        else:
            alphabet[chr(0x100 + hidden)] = byte
            hidden += 1
    return alphabet


_BYTE_ALPHABET = _byte_alphabet()


def _decode_byte_level(text: str) -> bytes:
    """The bytes that a vocabulary entry stands for. Entries outside the alphabet (control tokens that are listed
    in the vocabulary too) are their own text."""
    try:
        return bytes([_BYTE_ALPHABET[character] for character in text])
    except KeyError:
        return text.encode()
