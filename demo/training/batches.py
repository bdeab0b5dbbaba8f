"""Examples as batches of token ids, with what is to be learnt in them.

    tokens_BS   <|im_user|> user ... <|im_assistant|> assistant <|im_middle|> None  of  my ... <|im_end|> PAD
    from_P                                                          ^  predicts   ^   its next, a target

An example with several ways on from its opening is one text: each way sees the opening and itself, and has the
positions that it would have alone.

    tokens      opening ......... | first way ...... | second way ....
    ways_BS     0 0 0 0 0 0 0 0 0   1 1 1 1 1 1 1 1    2 2 2 2 2 2 2 2
    places_BS   0 1 2 3 4 5 6 7 8   9 10 11 ...        9 10 11 ...

Shapes: B texts, S tokens of a text, P places whose next token is predicted.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random

import torch
from torch import Tensor

from demo.tokenizer import PAD
from demo.training.conversation import END, Example, Piece, opening, turns, ways
from server.text.tiktoken_tokenizer import TiktokenTokenizer

POOL = 1024  # examples that are sorted by length together


@dataclass(frozen=True)
class Encoded:
    """One example: its tokens, the places of learnt ones, for each of these the assistant's turn it is in, and the
    places of the user's words."""

    skill: str
    tokens: list[int]
    learnt: list[int]
    turns: list[int]
    calls: list[bool]  # of each turn: whether it calls tools
    starts: list[int]  # where each way on from the opening begins; the first begins where the opening ends
    asked: list[int]


@dataclass(frozen=True)
class Batch:
    """Encoded examples of like length."""

    tokens_BS: Tensor
    places_BS: Tensor
    ways_BS: Tensor
    from_P: Tensor  # indices into the flattened tokens; first those of learnt tokens, then those of the user's words
    targets_P: Tensor
    learnt: int  # how many of these places are those of learnt tokens
    examples: list[Encoded]


def inputs(batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What the model takes."""
    return batch.tokens_BS, batch.from_P, batch.places_BS, batch.ways_BS


class Encoder:
    """Turns conversations into token ids, with the tokenizer that serves them."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = TiktokenTokenizer.load(folder)
        self.controls: Mapping[str, int] = self.tokenizer.control_tokens

    def encode(self, example: Example) -> Encoded:
        encoded = Encoded(example.skill, [], [], [], [], [], [])
        self._add(encoded, opening(example.conversation))
        for way in ways(example):
            encoded.starts.append(len(encoded.tokens))
            self._add(encoded, turns(way))
        return encoded

    def _add(self, encoded: Encoded, pieces: list[Piece]) -> None:
        inside = False
        for piece in pieces:
            if piece.learnt and not inside:
                encoded.calls.append(False)
            inside = piece.learnt and piece.text != END
            ids = self._ids(piece)
            if piece.learnt:
                encoded.calls[-1] |= piece.control and piece.text not in (END, "</think>")
                encoded.learnt.extend(range(len(encoded.tokens), len(encoded.tokens) + len(ids)))
                encoded.turns.extend([len(encoded.calls) - 1] * len(ids))
            if piece.asked:
                encoded.asked.extend(range(len(encoded.tokens), len(encoded.tokens) + len(ids)))
            encoded.tokens.extend(ids)

    def _ids(self, piece: Piece) -> list[int]:
        return [self.controls[piece.text]] if piece.control else self.tokenizer.encode(piece.text)


def batches(source: Iterator[Encoded], tokens: int, longest: int, seed: int) -> Iterator[Batch]:
    """Endless batches of about `tokens` tokens, padding included; longer examples than `longest` are left out."""
    random = Random(seed)
    while True:
        pool = sorted(
            islice((one for one in source if len(one.tokens) <= longest), POOL), key=lambda one: len(one.tokens)
        )
        groups: list[list[Encoded]] = [[]]
        for one in pool:
            if (len(groups[-1]) + 1) * len(one.tokens) > tokens:
                groups.append([])
            groups[-1].append(one)
        random.shuffle(groups)
        yield from map(make_batch, groups)


def make_batch(examples: list[Encoded]) -> Batch:
    """Pads examples to one length, a multiple of 16."""
    length = -(-max(len(one.tokens) for one in examples) // 16) * 16
    tokens_BS = torch.full((len(examples), length), PAD)
    places_BS = torch.arange(length).repeat(len(examples), 1)
    ways_BS = torch.zeros_like(places_BS)
    learnt: list[int] = []
    asked: list[int] = []
    for row, one in enumerate(examples):
        tokens_BS[row, : len(one.tokens)] = torch.tensor(one.tokens)
        for way, start in enumerate(one.starts, 1):
            ways_BS[row, start:] = way
            places_BS[row, start:] = torch.arange(length - start) + one.starts[0]
        learnt += [row * length + place for place in one.learnt]
        asked += [row * length + place for place in one.asked]
    places_P = torch.tensor(learnt + asked)
    return Batch(tokens_BS, places_BS, ways_BS, places_P - 1, tokens_BS.flatten()[places_P], len(learnt), examples)
