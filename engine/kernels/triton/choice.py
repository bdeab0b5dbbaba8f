"""Which way the experts of plain weights take, by what was measured: choice.json, which `benchmarks/gpu.py` writes.

device                   on what it was measured; null: nobody has
grouped_mm_from_tokens   tokens of a step from which torch's grouped product wins; null: never
"""

import json
from functools import lru_cache
from pathlib import Path

from engine.kernels.packed import Packed

FILE = Path(__file__).with_name("choice.json")


@lru_cache
def grouped_mm_from_tokens() -> int | None:
    """None: the Triton way always."""
    found: int | None = json.loads(FILE.read_text())["grouped_mm_from_tokens"]
    return found


def takes_grouped_mm(weights: Packed, tokens: int) -> bool:
    """Whether torch's grouped product is to compute them: it takes plain bf16 weights only."""
    least = grouped_mm_from_tokens()
    return least is not None and weights.format == "plain" and weights.values.element_size() == 2 and tokens >= least
