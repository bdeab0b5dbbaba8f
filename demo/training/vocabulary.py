"""The demonstration model's tokenizer: ranks in Kimi's file format, learnt so that copying is easy.

What stands in a prompt as ` Paris` must be written as `"Paris` in a call. So letters are only merged with letters, and
every piece of a word comes in two variants, without and with a blank before it, whose ranks follow all merges of
letters: a word falls into the same pieces wherever it stands.

    bytes 256 | letters merged | blank + one piece | punctuation merged | control tokens
"""

import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

from demo.tokenizer import RANKS

PUNCTUATION_RANKS = 160
_LETTERS = re.compile(r"[^\W\d_]+")
_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]{2,}")
_CAMEL = re.compile(r"[A-Z]*[a-zà-ÿ]+|[A-Z]+|[^A-Za-z]+")


def learn_ranks(texts: Iterable[str]) -> list[bytes]:
    """The bytes of RANKS ranks."""
    words: Counter[bytes] = Counter()
    marks: Counter[bytes] = Counter()
    for text in texts:
        for run in _LETTERS.findall(text):
            words.update(part.encode() for part in _CAMEL.findall(run))
        marks.update(run.encode() for run in _PUNCTUATION.findall(text))
    punctuation = _merges(marks, PUNCTUATION_RANKS)
    letters = [bytes([value]) for value in (*range(65, 91), *range(97, 123))]
    room = RANKS - 256 - len(punctuation) - len(letters)
    pieces = _merges(words, room // 2)
    blanks = [b" " + piece for piece in (*letters, *pieces)]
    ranks = [bytes([value]) for value in range(256)] + pieces + blanks + punctuation
    ranks += [b"\n" * count for count in range(2, 2 + RANKS - len(ranks))]
    assert len(ranks) == len(set(ranks)) == RANKS
    return ranks


def _merges(words: Counter[bytes], count: int) -> list[bytes]:
    """Byte-pair merges in the order in which they are learnt."""
    split = {word: tuple(bytes([value]) for value in word) for word in words}
    pairs: Counter[tuple[bytes, bytes]] = Counter()
    where: dict[tuple[bytes, bytes], set[bytes]] = {}
    for word, parts in split.items():
        for pair in pairwise(parts):
            pairs[pair] += words[word]
            where.setdefault(pair, set()).add(word)
    merged: list[bytes] = []
    while pairs and len(merged) < count:
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        joined = best[0] + best[1]
        if joined not in merged:
            merged.append(joined)
        for word in where.pop(best):
            old = split[word]
            for pair in pairwise(old):
                pairs[pair] -= words[word]
            new = split[word] = _join(old, best)
            for pair in pairwise(new):
                pairs[pair] += words[word]
                where.setdefault(pair, set()).add(word)
        del pairs[best]
    return merged


def _join(parts: tuple[bytes, ...], pair: tuple[bytes, bytes]) -> tuple[bytes, ...]:
    out: list[bytes] = []
    for part in parts:
        if out and (out[-1], part) == pair:
            out[-1] += part
        else:
            out.append(part)
    return tuple(out)
