"""How well held-out examples are answered: a turn counts only if every token of it is right.

Greedy decoding gives exactly the reference if and only if each reference token is the likeliest after those before it,
so one forward pass measures what decoding would.
"""

from collections import defaultdict
from collections.abc import Sequence

import torch

from demo.training.batches import Batch, inputs
from demo.training.model import DemoModel


@torch.no_grad()
def exactness(model: DemoModel, batches: Sequence[Batch]) -> dict[str, float]:
    """Share of the assistant's turns that are exactly right, by skill and whether the turn is a call or text."""
    right: dict[str, list[bool]] = defaultdict(list)
    model.eval()
    for batch in batches:
        learnt = slice(batch.learnt)
        hidden_PD = model(*inputs(batch))[learnt]
        hits = (model.logits(hidden_PD).argmax(-1) == batch.targets_P[learnt]).tolist()
        for example in batch.examples:
            turns = [True] * len(example.calls)
            for turn in example.turns:
                turns[turn] &= hits.pop(0)
            for turn, (exact, call) in enumerate(zip(turns, example.calls, strict=True)):
                right[f"{example.skill}.{'call' if call else 'text'}"].append(exact)
                if turn == 0:
                    right["first"].append(exact)
    model.train()
    return {name: sum(turns) / len(turns) for name, turns in sorted(right.items())}
