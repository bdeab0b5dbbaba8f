"""Kimi's tokenizer: byte-pair ranks in `tiktoken.model`, a split pattern that treats Han apart, 256 control slots.

Facts: the published tokenizer of the Kimi K2 line (tokenization_kimi.py). engine/vocabulary.py reads its files.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Self

import tiktoken

from engine import SPLIT_PATTERN, read_tiktoken_vocabulary
from server.text.well_formed import well_formed

# The published encoder cuts its input so, and a cut is a token border: ours must be at the same places.
_SECTION_CHARS = 400_000
_RUN_CHARS = 25_000


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
        vocabulary = read_tiktoken_vocabulary(folder)
        return cls(vocabulary.ranks, vocabulary.control_names)

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
