"""Kimi's tokenizer: byte-pair ranks in `tiktoken.model`, a split pattern that treats Han apart, 256 control slots.

    ids:  0 ........ R-1 | R ............... R+255
          one per rank   | control slots, named by tokenizer_config.json

Facts: the published tokenizer of the Kimi K2 line (tokenization_kimi.py and its files).
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import tiktoken

from engine import ConfigError
from server.text.checkpoint_json import read_optional_json_object
from server.text.well_formed import well_formed

CONTROL_SLOTS = 256

# The published encoder cuts its input so, and a cut is a token border: ours must be at the same places.
_SECTION_CHARS = 400_000
_RUN_CHARS = 25_000

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


class TiktokenTokenizer:
    """See the module. Built from byte sequences in rank order and the names of the control slots."""

    def __init__(self, ranks: list[bytes], control_names: list[str]) -> None:
        first_control = len(ranks)
        self._first_control = first_control
        self.control_tokens: Mapping[str, int] = MappingProxyType(
            {name: first_control + slot for slot, name in enumerate(control_names)}
        )
        self._bytes = ranks + [name.encode() for name in control_names]
        self.vocab_size = len(self._bytes)
        # No special tokens are given to tiktoken: what it does not know it cannot produce.
        self._encoding = tiktoken.Encoding(
            "kimi",
            pat_str=SPLIT_PATTERN,
            mergeable_ranks={token: rank for rank, token in enumerate(ranks)},
            special_tokens={},
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads `tiktoken.model` and the names in `tokenizer_config.json`. Raises ConfigError."""
        ranks = _read_ranks(folder / "tiktoken.model")
        config_path = folder / "tokenizer_config.json"
        named = read_optional_json_object(config_path).get("added_tokens_decoder", {})
        return cls(ranks, _control_names(named, len(ranks), config_path))

    def encode(self, text: str) -> list[int]:
        text = well_formed(text)
        if len(text) <= _RUN_CHARS:
            return self._encoding.encode_ordinary(text)
        token_ids: list[int] = []
        for start in range(0, len(text), _SECTION_CHARS):
            for piece in split_long_runs(text[start : start + _SECTION_CHARS], _RUN_CHARS):
                token_ids += self._encoding.encode_ordinary(piece)
        return token_ids

    def is_control(self, token_id: int) -> bool:
        return self._first_control <= token_id < self.vocab_size

    def token_bytes(self, token_id: int) -> bytes:
        return self._bytes[token_id] if 0 <= token_id < self.vocab_size else b""


def split_long_runs(text: str, limit: int) -> Iterator[str]:
    """Cuts `text` so that no piece holds more than `limit` (non-)space characters in a row.

    Every `limit` characters of a run there is a cut, counted from the run's start:

        a run of 2.5 x limit:   |---- limit ----|---- limit ----|- rest -|

    A run that must be cut covers some index that is a multiple of `limit`, so only those are looked at: the cost
    is linear, with a small factor.
    """
    cut = 0
    run_end = 0
    for probe in range(0, len(text), limit):
        if probe < run_end:
            continue  # within the run found last
        run = _SPACES if text[probe].isspace() else _NON_SPACES
        # The run cannot have begun before the last probe, or it would have been found there.
        before = text[max(0, probe - limit) : probe][::-1]
        run_start = probe - len(_matched(run, before, 0))
        run_end = probe + len(_matched(run, text, probe))
        for next_cut in range(run_start + limit, run_end, limit):
            yield text[cut:next_cut]
            cut = next_cut
    yield text[cut:]


_SPACES = re.compile(r"\s*")  # agrees with str.isspace
_NON_SPACES = re.compile(r"\S*")


def _matched(pattern: re.Pattern[str], text: str, start: int) -> str:
    match = pattern.match(text, start)
    assert match is not None, "a starred pattern matches everywhere"
    return match.group()


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
