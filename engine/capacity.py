"""What a model takes on several GPUs, and how fast memory lets it be, from its config alone: plain arithmetic.

Assumes what servers of these models do on one host: each rank holds an equal share of the experts, of the linear
layers' rows or columns and of the vocabulary; norms and routers are on every rank; keys and values of grouped-query
attention are divided by heads as far as there are heads, MLA's one latent a token is on every rank. Never imports
torch. Bytes, tokens, seconds.
"""

from dataclasses import dataclass, replace

from engine.kernels.formats import Formats, quantized
from engine.models.config import GQAConfig, ModelConfig
from engine.models.sizes import Kind, kv_bytes_per_token, matrices

DTYPE_BYTES = 2  # bfloat16: what is computed in
# Of a GPU's memory: what the driver, the libraries and a step's activations take. An allowance, not a measurement.
RESERVED_SHARE = 0.08
REPLICATED = ("norms", "router")


@dataclass(frozen=True, slots=True)
class Hardware:
    """`memory` and `bandwidth` (bytes a second) of one GPU."""

    gpus: int
    memory: int
    bandwidth: float


@dataclass(frozen=True, slots=True)
class Speed:
    """The most that memory bandwidth allows when `batch` requests decode together: each weight that the batch touches
    and each cached token is read once a step."""

    batch: int
    experts_touched: float  # distinct routed experts of a layer
    bytes_a_step: float  # of the rank
    tokens_a_second: float


@dataclass(frozen=True, slots=True)
class Capacity:
    """Bytes of one rank; tokens of the whole."""

    weights: dict[str, int]
    reserved: int
    memory: int
    kv_bytes_per_token: int
    kv_tokens: int

    @property
    def left(self) -> int:
        """For the KV cache; negative if the weights do not fit."""
        return self.memory - self.reserved - sum(self.weights.values())


def rank_weights(model: ModelConfig, formats: Formats, gpus: int) -> dict[str, int]:
    """Bytes of each part of the model on one rank."""
    held = {}
    for part, some in matrices(model).items():
        total = sum(matrix.bytes(formats, DTYPE_BYTES) for matrix in some)
        held[part] = total if part in REPLICATED else -(-total // gpus)
    return held


def rank_kv_bytes(model: ModelConfig, formats: Formats, gpus: int) -> int:
    """Bytes that one token takes in one rank's KV cache; of the rank that has the most heads."""
    whole = kv_bytes_per_token(model, formats.cached_bytes(DTYPE_BYTES))
    if not isinstance(model.attention, GQAConfig):
        return whole
    heads = model.attention.kv_heads
    return whole // heads * -(-heads // gpus)


def plan_capacity(model: ModelConfig, formats: Formats, hardware: Hardware) -> Capacity:
    """What fits on one rank."""
    weights = rank_weights(model, formats, hardware.gpus)
    reserved = int(hardware.memory * RESERVED_SHARE)
    each = rank_kv_bytes(model, formats, hardware.gpus)
    left = hardware.memory - reserved - sum(weights.values())
    return Capacity(weights, reserved, hardware.memory, each, max(left, 0) // each)


def touched(experts: int, per_token: int, batch: int) -> float:
    """Distinct experts that `batch` tokens go to, on average, if routing is uniform."""
    return experts * (1 - (1 - per_token / experts) ** batch)


def speed(model: ModelConfig, formats: Formats, hardware: Hardware, batch: int, context: int) -> Speed:
    """The roofline of decoding at `context` cached tokens a request."""
    read, hit = 0.0, 0.0
    for part, some in matrices(model).items():
        share = 1 if part in REPLICATED else hardware.gpus
        for matrix in some:
            size = matrix.bytes(formats, DTYPE_BYTES) / share
            if matrix.kind == _EXPERT and model.moe is not None:
                hit = touched(model.moe.experts, model.moe.per_token, batch)
                size *= hit / model.moe.experts
            read += size
    if not model.tie_word_embeddings:  # of the embedding only a batch's rows are read
        read -= model.vocab_size * model.hidden_size * DTYPE_BYTES / hardware.gpus
    read += batch * context * rank_kv_bytes(model, formats, hardware.gpus)
    return Speed(batch, hit, read, batch * hardware.bandwidth / read)


def changes_that_fit(
    model: ModelConfig, formats: Formats, hardware: Hardware, context: int, concurrency: int
) -> list[str]:
    """The smallest change of each kind, alone, that makes `concurrency` requests of `context` tokens fit."""

    def fits(formats: Formats, gpus: int, tokens: int) -> bool:
        made = plan_capacity(model, formats, Hardware(gpus, hardware.memory, hardware.bandwidth))
        return made.left > 0 and made.kv_tokens >= tokens

    found = []
    tokens = context * concurrency
    held = plan_capacity(model, formats, hardware).kv_tokens
    if held >= context:
        found.append(f"--concurrency {held // context}")
    if held >= concurrency:
        found.append(f"--context {held // concurrency}")
    more = next((gpus for gpus in range(hardware.gpus + 1, 1025) if fits(formats, gpus, tokens)), None)
    if more is not None:
        found.append(f"--gpus {more}")
    cached = replace(formats, kv="fp8")
    if formats != cached and fits(cached, hardware.gpus, tokens):
        found.append("--kv-cache-dtype fp8")
    int4 = quantized("int4", formats.kv)
    if formats != int4 and fits(int4, hardware.gpus, tokens):
        found.append("--quantize int4")
    return found


_EXPERT: Kind = "expert"
