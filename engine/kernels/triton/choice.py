"""Which way the experts of plain weights take, by what was measured: choice.json, which `benchmarks/gpu.py` writes.

device                   on what it was measured, as torch calls it; null: nobody has. On others the table says nothing
grouped_mm_from_tokens   tokens of a step from which torch's grouped product wins; null: never
"""

import json
from functools import lru_cache
from pathlib import Path

import torch

from engine.kernels.packed import Packed

FILE = Path(__file__).with_name("choice.json")


@lru_cache
def grouped_mm_from_tokens() -> int | None:
    """None: the Triton way always."""
    found = json.loads(FILE.read_text())
    if not torch.cuda.is_available() or torch.cuda.get_device_name() != found["device"]:
        return None
    least: int | None = found["grouped_mm_from_tokens"]
    return least


def takes_grouped_mm(weights: Packed, tokens: int) -> bool:
    """Whether torch's grouped product is to compute them: it takes plain bf16 weights only, and nobody has seen it in a
    recorded step."""
    least = None if torch.cuda.is_available() and torch.cuda.is_current_stream_capturing() else grouped_mm_from_tokens()
    return least is not None and weights.format == "plain" and weights.values.element_size() == 2 and tokens >= least
