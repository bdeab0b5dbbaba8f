"""The memory plan: what a model will take on this machine, item by item, before a byte of it is loaded.

Owns the decisions that follow from it: KV cache size, maximum length, dtype. Pure arithmetic on the two configs; never
imports torch. Weights and KV cache are exact, the workspace is an upper bound; tests hold all three against reality.

Letters: D model, H heads, K experts of a token, F expert width, L latent, N head without rotary, R rotary, Q = N + R,
C = L + R, V value head, T tokens of a step.
"""

from dataclasses import dataclass

from engine.config import EngineConfig
from engine.errors import ConfigError, DoesNotFit
from engine.kernels.limits import PREFILL_KEY_BLOCK, PREFILL_QUERY_BLOCK
from engine.messages import PlanLine
from engine.models.batch import DECODE_WORKSPACE_TOKENS
from engine.models.config import ModelConfig
from engine.models.sizes import count_parameters, kv_bytes_per_token

DTYPE_BYTES = {"bfloat16": 2, "float32": 4}
FP32 = 4
# Of the memory left after weights and workspace, what the KV cache takes when nobody says how much.
KV_SHARE = {"cpu": 0.5, "cuda": 0.95}
# Blocks freed by one operation do not always fit the next: room for the allocator's holes and the libraries' own.
ALLOCATOR_SLACK = 0.15
ALLOCATOR_FLOOR = 32 << 20
# fp32 rows of the vocabulary that sampling holds at once beside the logits when every request asks for the most:
# log-probabilities, penalties and their counts, scaled, sorted with int64 places, summed in fp64. Measured: 12.8.
SAMPLER_ROWS = 14


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """The itemised plan and what it settled. Sizes in bytes, lengths in tokens."""

    lines: tuple[PlanLine, ...]
    total_bytes: int
    available_bytes: int
    weight_bytes: int
    parameters: int
    kv_blocks: int
    kv_tokens: int
    max_model_len: int
    dtype: str
    dtype_bytes: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Fit:
    """The plan's three parts for a given longest request."""

    weights: list[PlanLine]
    workspace: list[PlanLine]
    blocks: int
    block_bytes: int


def plan_memory(engine: EngineConfig, model: ModelConfig, available_bytes: int) -> MemoryPlan:
    """Plans `model` into `available_bytes` as `engine` asks. `engine.device` should be resolved: `auto` counts as cpu.

    Raises DoesNotFit, which names sizes and the flag to change, or ConfigError for a value that makes no sense.
    """
    dtype, notes = _resolve_dtype(engine.dtype, model)
    size = DTYPE_BYTES[dtype]
    longest = _longest(engine, model)
    if engine.max_model_len is None and longest > DECODE_WORKSPACE_TOKENS:
        # No request can be longer than the KV cache: do not reserve the workspace of one that would be.
        at_most = _fit(engine, model, available_bytes, size, DECODE_WORKSPACE_TOKENS).blocks * engine.block_size
        longest = min(longest, max(at_most, DECODE_WORKSPACE_TOKENS))
    fit = _fit(engine, model, available_bytes, size, longest)
    kv_tokens = fit.blocks * engine.block_size
    max_model_len = _max_model_len(engine, model, kv_tokens, notes)
    detail = f"{fit.blocks:,} blocks of {engine.block_size}, {kv_tokens:,} tokens"
    lines = (*fit.weights, PlanLine("KV cache", fit.blocks * fit.block_bytes, detail), *fit.workspace)
    return MemoryPlan(
        lines=lines,
        total_bytes=sum(line.bytes for line in lines),
        available_bytes=available_bytes,
        weight_bytes=sum(line.bytes for line in fit.weights),
        parameters=sum(count_parameters(model).values()),
        kv_blocks=fit.blocks,
        kv_tokens=kv_tokens,
        max_model_len=max_model_len,
        dtype=dtype,
        dtype_bytes=size,
        notes=tuple(notes),
    )


def _longest(engine: EngineConfig, model: ModelConfig) -> int:
    """The longest request that is wanted."""
    if engine.max_model_len is None:
        return model.max_position_embeddings
    if engine.max_model_len > model.max_position_embeddings:
        raise ConfigError(
            f"--max-model-len {engine.max_model_len} exceeds the {model.max_position_embeddings} positions that the "
            "model knows (max_position_embeddings of config.json)"
        )
    return engine.max_model_len


def _fit(engine: EngineConfig, model: ModelConfig, available_bytes: int, size: int, longest: int) -> _Fit:
    weights, workspace = _weights(model, size), _workspace(engine, model, size, longest)
    weight_bytes, workspace_bytes = (sum(line.bytes for line in lines) for lines in (weights, workspace))
    left = available_bytes - weight_bytes - workspace_bytes
    if left <= 0:
        raise DoesNotFit(
            f"weights ({_human(weight_bytes)}) and workspace ({_human(workspace_bytes)}) exceed the "
            f"{_human(available_bytes)} available: use a machine with more memory, "
            + ("--dtype bfloat16, " if size == FP32 else "")
            + f"or a smaller workspace by --max-batch-tokens below {engine.max_batch_tokens}"
        )
    block_bytes = engine.block_size * kv_bytes_per_token(model, size)
    return _Fit(weights, workspace, _kv_blocks(engine, model, left, block_bytes), block_bytes)


def _weights(model: ModelConfig, size: int) -> list[PlanLine]:
    parts = count_parameters(model)
    lines = []
    for name, count in parts.items():
        if count:
            bytes_each = FP32 if name == "router" else size
            lines.append(PlanLine(name, count * bytes_each, f"{_count(count)} parameters"))
    return lines


def _workspace(engine: EngineConfig, model: ModelConfig, size: int, longest: int) -> list[PlanLine]:
    """Upper bounds of what a step holds beside weights and KV cache. The first two do not happen at once, but the
    allocator need not give the one's memory to the other."""
    attention = _attention_workspace(engine, model, size, longest)
    activations = _activation_workspace(engine, model, size)
    rows = min(engine.max_running, engine.max_batch_tokens)
    logits = rows * (model.hidden_size * size + model.vocab_size * (size + FP32 + SAMPLER_ROWS * FP32))
    slack = max(int(ALLOCATOR_SLACK * (attention + activations + logits)), ALLOCATOR_FLOOR)
    return [
        PlanLine("workspace: attention", attention, f"{PREFILL_QUERY_BLOCK} queries by {PREFILL_KEY_BLOCK} keys"),
        PlanLine("workspace: activations", activations, f"{engine.max_batch_tokens:,} tokens a step"),
        PlanLine("workspace: logits", logits, f"{rows:,} rows and their sampling"),
        PlanLine("workspace: allocator", slack, "holes between the above"),
    ]


def _attention_workspace(engine: EngineConfig, model: ModelConfig, size: int, longest: int) -> int:
    """The larger of a full prefill chunk and the widest decode group, on top of the layer's projections."""
    D, H, L, R, V = (
        model.hidden_size,
        model.num_attention_heads,
        model.kv_lora_rank,
        model.qk_rope_head_dim,
        model.v_head_dim,
    )
    N = model.qk_nope_head_dim
    Q, C, T = N + R, L + R, engine.max_batch_tokens
    first_stage = (model.q_lora_rank or H * Q) + C
    # Normalised input, first stage and its norms; queries before, during (fp32) and after rotation; outputs.
    projections = T * ((D + 2 * first_stage + 3 * H * Q + 2 * H * V + D) * size + 2 * (H + 1) * R * FP32)

    key_block = max(PREFILL_KEY_BLOCK, engine.block_size)
    tile = min(PREFILL_QUERY_BLOCK, T) * key_block
    running = T * H * (Q * size + V * (size + FP32) + 2 * FP32)  # queries by head; the merged output, peak and total
    expanded = key_block * (2 * C + H * (2 * N + R + 2 * V)) * size
    scores = H * tile * (2 * FP32 + 2 * size) + H * PREFILL_QUERY_BLOCK * (Q + 2 * V) * FP32
    prefill = running + expanded + scores

    rows = min(engine.max_running, T)
    # As many keys as a group may gather; each row may add one block of padding; a long request exceeds it alone.
    keys = min(max(DECODE_WORKSPACE_TOKENS, longest), rows * longest) + rows * engine.block_size
    decode = keys * (2 * C * size + H * (2 * FP32 + 2 * size) + 1) + rows * H * (2 * C + 2 * L + V) * size
    return projections + max(prefill, decode)


def _activation_workspace(engine: EngineConfig, model: ModelConfig, size: int) -> int:
    """The residual stream and the wider of the two kinds of feed-forward block."""
    D, K, F, T = (
        model.hidden_size,
        model.num_experts_per_tok,
        model.moe_intermediate_size,
        engine.max_batch_tokens,
    )
    stream = T * (3 * D * size + D * FP32)  # the norm works on a copy in fp32
    dense = T * (D + 4 * model.intermediate_size) * size if model.first_k_dense_replace else 0
    # Rows are copied once per expert visited; each product exists in pieces and joined.
    visits = T * K * ((3 * D + 5 * F) * size + 8 * FP32)
    shared = T * (2 * D + 4 * F * model.n_shared_experts) * size
    routing = T * (D + 4 * model.n_routed_experts) * FP32
    return stream + max(dense, visits + shared + routing)


def _resolve_dtype(asked: str, model: ModelConfig) -> tuple[str, list[str]]:
    if asked == "auto":
        if model.dtype == "float16":
            return "bfloat16", ["the checkpoint's float16 weights are converted to bfloat16"]
        return model.dtype, []
    if asked not in DTYPE_BYTES:
        raise ConfigError(f"--dtype {asked} is not supported: use auto, {' or '.join(DTYPE_BYTES)}")
    return asked, []


def _kv_blocks(engine: EngineConfig, model: ModelConfig, left: int, block_bytes: int) -> int:
    """Blocks of the KV cache: as many as asked, or enough for every running request within its share of `left`."""
    if engine.kv_cache_memory is not None:
        blocks = engine.kv_cache_memory // block_bytes
        if blocks < 1:
            raise DoesNotFit(
                f"--kv-cache-memory {_human(engine.kv_cache_memory)} holds not one block of {engine.block_size} tokens "
                f"({_human(block_bytes)}): raise it"
            )
        if blocks * block_bytes > left:
            raise DoesNotFit(
                f"--kv-cache-memory {_human(engine.kv_cache_memory)} exceeds the {_human(left)} left after weights and "
                "workspace: lower it"
            )
        return blocks
    each = -(-_longest(engine, model) // engine.block_size)
    share = int(left * KV_SHARE.get(engine.device, KV_SHARE["cpu"])) // block_bytes
    if engine.max_model_len is not None:
        share = max(share, min(each, left // block_bytes))  # what was asked for may take all that is left
    blocks = min(engine.max_running * each, share)
    if blocks < 1:
        raise DoesNotFit(
            f"the {_human(left)} left after weights and workspace hold no KV cache (a block of {engine.block_size} "
            f"tokens takes {_human(block_bytes)}): lower --max-batch-tokens from {engine.max_batch_tokens}"
        )
    return blocks


def _max_model_len(engine: EngineConfig, model: ModelConfig, kv_tokens: int, notes: list[str]) -> int:
    wanted = _longest(engine, model)
    if wanted <= kv_tokens:
        return wanted
    if engine.max_model_len is not None:
        raise DoesNotFit(
            f"--max-model-len {wanted} exceeds the {kv_tokens:,} tokens that the KV cache holds: lower it, or raise "
            "--kv-cache-memory"
        )
    notes.append(
        f"max_model_len is {kv_tokens:,} tokens, all that the KV cache holds; the model allows {wanted:,} "
        "(--kv-cache-memory)"
    )
    return kv_tokens


def _count(parameters: int) -> str:
    for unit, size in (("T", 10**12), ("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if parameters >= size:
            return f"{parameters / size:.3g}{unit}"
    return str(parameters)


def _human(size: int) -> str:
    for unit, scale in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} bytes"
