"""How large a model is, from its config alone. Exact; never imports torch.

Letters: D model, H heads, G heads of keys, E experts, F expert width, L latent, N head without rotary, R rotary,
V value head, W head.
"""

from dataclasses import dataclass
from typing import Literal

from engine.kernels.formats import FP32, Format, Formats, matrix_bytes
from engine.models.config import GQAConfig, MLAConfig, MLPConfig, ModelConfig, MoEConfig

Kind = Literal["plain", "fp32", "linear", "expert", "head"]


@dataclass(frozen=True, slots=True)
class Matrix:
    """`count` matrices of one size; a vector has one row. Of what kind decides the format."""

    rows: int
    columns: int
    kind: Kind
    count: int = 1

    @property
    def parameters(self) -> int:
        return self.count * self.rows * self.columns

    def bytes(self, formats: Formats, dtype_bytes: int) -> int:
        if self.kind == "fp32":
            return self.parameters * FP32
        chosen: dict[str, Format] = {
            "plain": "plain",
            "linear": formats.linear,
            "expert": formats.experts,
            "head": formats.head,
        }
        return self.count * matrix_bytes(self.rows, self.columns, chosen[self.kind], dtype_bytes)


def kv_bytes_per_token(model: ModelConfig, dtype_bytes: int) -> int:
    """What one token takes in the KV cache, all layers together."""
    return sum(len(group.layers) * group.width for group in model.kv_groups) * dtype_bytes


def count_parameters(model: ModelConfig) -> dict[str, int]:
    """Parameters by part of the model; their sum is the model's size."""
    return {part: sum(matrix.parameters for matrix in held) for part, held in matrices(model).items()}


def weight_bytes(model: ModelConfig, formats: Formats, dtype_bytes: int) -> dict[str, int]:
    """What each part takes in memory, in these formats."""
    return {part: sum(matrix.bytes(formats, dtype_bytes) for matrix in held) for part, held in matrices(model).items()}


def matrices(model: ModelConfig) -> dict[str, list[Matrix]]:
    """All parameters by part of the model."""
    D, layers, sparse = model.hidden_size, model.num_hidden_layers, len(model.moe_layers)
    attention = model.attention
    each = _mla(attention, D, layers) if isinstance(attention, MLAConfig) else _gqa(attention, D, layers)
    parts = {
        "embedding and head": [
            Matrix(model.vocab_size, D, "plain"),
            Matrix(model.vocab_size, D, "head", 0 if model.tie_word_embeddings else 1),
        ],
        "attention": each,
        "norms": [Matrix(1, D, "plain", 2 * layers + 1)],
    }
    if model.mlp is not None:
        parts["dense MLP"] = _mlp(model.mlp, D, model.dense_layers)
    if model.moe is not None:
        parts |= _mixture(model.moe, D, sparse)
    return parts


def _mla(attention: MLAConfig, D: int, layers: int) -> list[Matrix]:
    """up_k and up_v are plain in any format: batched products work on them."""
    H, L, R, V, N = attention.heads, attention.latent, attention.rotary, attention.value, attention.nope
    rank = attention.query_rank
    held = [
        Matrix((rank or H * (N + R)) + L + R, D, "linear", layers),
        Matrix(1, L, "plain", layers),
        Matrix(H * (N + V), L, "plain", layers),
        Matrix(D, H * V, "linear", layers),
    ]
    if rank is not None:
        held += [Matrix(1, rank, "plain", layers), Matrix(H * (N + R), rank, "linear", layers)]
    return held


def _gqa(attention: GQAConfig, D: int, layers: int) -> list[Matrix]:
    H, G, W = attention.heads, attention.kv_heads, attention.head
    return [
        Matrix((H + 2 * G) * W, D, "linear", layers),
        Matrix(1, W, "plain", 2 * layers),
        Matrix(D, H * W, "linear", layers),
    ]


def _mlp(mlp: MLPConfig, D: int, layers: int) -> list[Matrix]:
    """A gate beside the way up, or the two coefficients of xIELU."""
    down = Matrix(D, mlp.width, "linear", layers)
    if mlp.activation == "silu":
        return [Matrix(2 * mlp.width, D, "linear", layers), down]
    return [Matrix(mlp.width, D, "linear", layers), down, Matrix(1, 1, "plain", 2 * layers)]


def _mixture(moe: MoEConfig, D: int, layers: int) -> dict[str, list[Matrix]]:
    E, F = moe.experts, moe.width
    router = [Matrix(E, D, "fp32", layers)]
    if moe.scoring == "sigmoid":
        router.append(Matrix(1, E, "fp32", layers))
    parts = {"router": router}
    if moe.shared:
        parts["shared experts"] = [Matrix(2 * moe.shared, D, "linear", layers), Matrix(D, moe.shared, "linear", layers)]
    parts["experts"] = [Matrix(2 * F, D, "expert", layers * E), Matrix(D, F, "expert", layers * E)]
    return parts
