"""In which formats a model's matrices are stored, and how large each makes them. Never imports torch.

    plain   the model's dtype
    fp8     float8 e4m3, one float32 scale for each 128 x 128 block (DeepSeek-V3, section 3.3)
    int8    8 bits, one scale for each 32 values of a row
    int4    4 bits, eight in an int32, one scale for each 32 values of a row (compressed-tensors' pack-quantized)

Embedding, norms and routers are always plain.
"""

from dataclasses import dataclass
from typing import Literal

Format = Literal["plain", "fp8", "int8", "int4"]
Quantized = Literal["int8", "int4"]  # what `--quantize` makes of matrices
# Of the KV cache: the model's dtype, or float8 e4m3 without a scale, saturating at 448.
KVFormat = Literal["auto", "fp8"]
FP8_BLOCK = 128
GROUP = 32
FP32 = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Formats:
    """Of all linear layers, of the routed experts, of the head where it is not the embedding, and of what the KV cache
    holds."""

    linear: Format = "plain"
    experts: Format = "plain"
    head: Format = "plain"
    kv: KVFormat = "auto"

    def cached_bytes(self, dtype_bytes: int) -> int:
        """What a cached value takes."""
        return 1 if self.kv == "fp8" else dtype_bytes


PLAIN = Formats()


def quantized(format: Quantized, kv: KVFormat = "auto") -> Formats:
    """What `--quantize` makes of a model: the head keeps 8 bits, since every token's choice goes through it."""
    return Formats(linear=format, experts=format, head="int8", kv=kv)


def matrix_bytes(rows: int, columns: int, format: Format, dtype_bytes: int) -> int:
    """What a matrix [rows, columns] takes, scales included; those of the int formats have the model's dtype."""
    if format == "plain":
        return rows * columns * dtype_bytes
    if format == "fp8":
        return rows * columns + -(-rows // FP8_BLOCK) * -(-columns // FP8_BLOCK) * FP32
    values = rows * columns if format == "int8" else rows * columns // 2
    return values + rows * (columns // GROUP) * dtype_bytes
