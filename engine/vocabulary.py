"""What a checkpoint says of its tokens: the bytes of each, which are control tokens, how text is cut before merging.
Reads the files; encodes nothing. Both processes need it: the server to make ids of text and text of ids, the engine to
know which tokens a grammar admits.

Kimi (`tiktoken.model`):

    ids:  0 ........ R-1 | R ............... R+255
          one per rank   | control slots, named by tokenizer_config.json

Facts: the published tokenizer of the Kimi K2 line (tokenization_kimi.py and its files).
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from engine.checkpoint_json import read_json_object, read_optional_json_object
from engine.errors import ConfigError

CONTROL_SLOTS = 256

# How text is cut into words before merging. Han runs stand alone; upper-to-lower case borders begin a word.
SPLIT_PATTERN = "|".join(
    (
        r"[\p{Han}]+",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)


@dataclass(frozen=True, slots=True)
class TiktokenVocabulary:
    """Byte sequences in rank order, and the names of the control slots behind them."""

    ranks: list[bytes]
    control_names: list[str]

    @property
    def token_bytes(self) -> list[bytes]:
        """The bytes of each id; for a control token those of its name."""
        return self.ranks + [name.encode() for name in self.control_names]

    @property
    def control_tokens(self) -> Mapping[str, int]:
        """Name -> id."""
        return MappingProxyType({name: len(self.ranks) + slot for slot, name in enumerate(self.control_names)})


def read_tiktoken_vocabulary(folder: Path) -> TiktokenVocabulary:
    """Reads `tiktoken.model` and the names in `tokenizer_config.json`. Raises ConfigError."""
    ranks = _read_ranks(folder / "tiktoken.model")
    config_path = folder / "tokenizer_config.json"
    named = read_optional_json_object(config_path).get("added_tokens_decoder", {})
    return TiktokenVocabulary(ranks, _control_names(named, len(ranks), config_path))


def _read_ranks(path: Path) -> list[bytes]:
    """One line a token: base64 of its bytes, a space, its rank; ranks run from 0 without a gap."""
    ranks: list[bytes] = []
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            encoded, rank = line.split()
            token = base64.b64decode(encoded, validate=True)
            if int(rank) != len(ranks):
                raise ValueError(f"rank {int(rank)} where {len(ranks)} should be")
        except (ValueError, binascii.Error) as error:
            raise ConfigError(f"{path} line {number} is damaged: {error}") from error
        ranks.append(token)
    missing = {bytes([value]) for value in range(256)}.difference(ranks)
    if missing:
        raise ConfigError(f"{path} lacks a rank for {len(missing)} of the 256 single bytes; is it cut short?")
    if len(set(ranks)) != len(ranks):
        raise ConfigError(f"{path} gives two ranks to the same bytes")
    return ranks


def _control_names(named: Any, first_control: int, source: Path) -> list[str]:
    """The name of each control slot: the one in `added_tokens_decoder`, else `<|reserved_token_{id}|>`."""
    names = [f"<|reserved_token_{first_control + slot}|>" for slot in range(CONTROL_SLOTS)]
    try:
        for key, entry in named.items():
            slot = int(key) - first_control
            if not 0 <= slot < CONTROL_SLOTS:
                raise ValueError(
                    f"token {key} is outside the control slots {first_control} to {first_control + CONTROL_SLOTS - 1} "
                    "that follow the ranks of tiktoken.model; the two files do not belong together"
                )
            names[slot] = str(entry["content"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{source}: added_tokens_decoder: {error}") from error
    if len(set(names)) != len(names) or "" in names:
        raise ConfigError(f"{source}: added_tokens_decoder: every control token needs a name of its own")
    return names


@dataclass(frozen=True, slots=True)
class HuggingFaceVocabulary:
    """A byte-level BPE `tokenizer.json`. `description` is its content without the control tokens: an encoder made of
    it cuts, normalises and merges text as before, and can produce no control token."""

    token_bytes: list[bytes]  # by id; nothing for an id that no token has
    control_tokens: Mapping[str, int]
    description: dict[str, Any]


def read_huggingface_vocabulary(folder: Path) -> HuggingFaceVocabulary:
    """Reads `tokenizer.json`. Raises ConfigError if it is damaged or not byte-level BPE."""
    path = folder / "tokenizer.json"
    try:
        return parse_huggingface_vocabulary(read_json_object(path))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path} is not a tokenizer that can be loaded: {error!r}") from error


def parse_huggingface_vocabulary(description: dict[str, Any]) -> HuggingFaceVocabulary:
    """As `read_huggingface_vocabulary`, from the parsed content of the file."""
    _require_byte_level(description)
    added = description.get("added_tokens") or []
    control = {token["content"]: token["id"] for token in added if _is_control(token)}
    vocabulary: dict[str, int] = description["model"]["vocab"]
    token_bytes = {token_id: _decode_byte_level(text) for text, token_id in vocabulary.items()}
    token_bytes.update({token["id"]: token["content"].encode() for token in added})
    in_order = [token_bytes.get(token_id, b"") for token_id in range(max(token_bytes) + 1)]
    spared = _without_control(description, frozenset(control.values()))
    return HuggingFaceVocabulary(in_order, MappingProxyType(control), spared)


def _without_control(description: dict[str, Any], control_ids: frozenset[int]) -> dict[str, Any]:
    """The description without control tokens, and without what would change text behind our back."""
    model = dict(description["model"])
    # Some tokenizers list control tokens in the vocabulary too. Merges do not lead there (else the library
    # refuses to load), but `ignore_merges` would.
    model["vocab"] = {text: i for text, i in model["vocab"].items() if i not in control_ids}
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
