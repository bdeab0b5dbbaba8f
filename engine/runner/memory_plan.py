"""The memory plan: what a model will take on this machine, item by item, before a byte of it is loaded.

Owns the decisions that follow from it: KV cache size, maximum length, dtype. Pure arithmetic on the two configs; never
imports torch. Weights and KV cache are exact, the workspace is an upper bound; tests hold all three against reality.

Letters: D model, H heads, L latent, N head without rotary, R rotary, Q = N + R, C = L + R, V value head, G heads of
keys, W head, T tokens of a step.
"""

from dataclasses import dataclass, replace

import msgspec

from engine.config import EngineConfig
from engine.errors import ConfigError, DoesNotFit
from engine.kernels.formats import FP8_BLOCK, Formats, quantized
from engine.kernels.limits import (
    FLASHINFER_WORKSPACE,
    PREFILL_KEY_BLOCK,
    PREFILL_KEY_BLOCK_TRITON,
    PREFILL_QUERY_BLOCK,
    UNPACKED_VALUES,
    UNPACKING_BYTES,
)
from engine.messages import PlanLine
from engine.models.batch import DECODE_WORKSPACE_TOKENS
from engine.models.config import GQAConfig, MLAConfig, MLPConfig, ModelConfig, MoEConfig
from engine.models.sizes import count_parameters, kv_bytes_per_token, matrices, weight_bytes
from engine.runner.recorded_sizes import recorded_sizes

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
# What split decode attention leaves to be merged (engine/kernels/triton/merge.py): parts for two programs a
# multiprocessor, their number for a request a power of two, so up to 526, or one for each request; a part has 64 heads
# of 512 values in fp32.
DECODE_PARTS, DECODE_PART_BYTES = 526, 64 * 512 * 4
# A recorded layer: about 20 kernels of at most some KB. An allowance; nobody has measured it.
GRAPH_LAYER_BYTES = 128 << 10
# A layer's calls as the native kernels' recorder keeps them: 1 KB of words (measured), and room for their structs.
TAPE_LAYER_BYTES = 16 << 10
TAPE_CHUNK = 16 << 20  # by which its memory grows
TAPE_WASTE = 1 / 8  # of it at most: what is left of a chunk that the next result does not fit into
# Grammars live in the host's memory. The library's trie over the vocabulary, for a token (measured for 163,840: 762);
# the two processes that try grammars first; and what compiled grammars may take, in use and kept.
GRAMMAR_TOKEN_BYTES = 800
GRAMMAR_TRIALS = 2 * (32 << 20)
GRAMMAR_SHARE, GRAMMAR_MIN, GRAMMAR_MAX = 1 / 16, 32 << 20, 512 << 20


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
    grammar_bytes: int  # for compiled grammars
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
    dtype, notes = resolve_dtype(engine.dtype, model)
    size = DTYPE_BYTES[dtype]
    longest = _longest(engine, model)
    if engine.max_model_len is None and longest > DECODE_WORKSPACE_TOKENS:
        # No request can be longer than the KV cache: do not reserve the workspace of one that would be.
        at_most = _fit(engine, model, available_bytes, size, DECODE_WORKSPACE_TOKENS).blocks * engine.block_size
        longest = min(longest, max(at_most, DECODE_WORKSPACE_TOKENS))
    fit = _fit(engine, model, available_bytes, size, longest)
    kv_tokens = fit.blocks * engine.block_size
    max_model_len = _max_model_len(engine, model, kv_tokens, notes)
    if engine.kv_cache_dtype == "fp8":
        notes.append("the KV cache is kept in fp8 (abruzzi check-quantization --kv-cache-dtype tells what that costs)")
    if engine.quantize is not None:
        notes.append(f"matrices are packed in {engine.quantize} (abruzzi check-quantization tells what that costs)")
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
        grammar_bytes=_grammar_bytes(engine, available_bytes),
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
    weights, workspace = _weights(engine, model, size), _workspace(engine, model, size, longest)
    if engine.device != "cuda":
        workspace += _grammars(engine, model, available_bytes)
    weight_bytes, workspace_bytes = (sum(line.bytes for line in lines) for lines in (weights, workspace))
    left = available_bytes - weight_bytes - workspace_bytes
    if left <= 0:
        raise DoesNotFit(
            f"weights ({_human(weight_bytes)}) and workspace ({_human(workspace_bytes)}) exceed the "
            f"{_human(available_bytes)} available: use a machine with more memory, "
            + ("--dtype bfloat16, " if size == FP32 else "")
            + f"or a smaller workspace by --max-batch-tokens below {engine.max_batch_tokens}"
        )
    block_bytes = engine.block_size * kv_bytes_per_token(model, formats_of(engine, model).cached_bytes(size))
    return _Fit(weights, workspace, _kv_blocks(engine, model, left, block_bytes), block_bytes)


def _weights(engine: EngineConfig, model: ModelConfig, size: int) -> list[PlanLine]:
    counts = count_parameters(model)
    sizes = weight_bytes(model, formats_of(engine, model), size)
    return [PlanLine(name, sizes[name], f"{_count(count)} parameters") for name, count in counts.items() if count]


def formats_of(engine: EngineConfig, model: ModelConfig) -> Formats:
    """The formats that the model's matrices and its cached tokens have in memory: the checkpoint's, or what was asked
    for."""
    kv = engine.kv_cache_dtype
    if engine.quantize is None:
        return replace(model.formats, kv=kv)
    return quantized(engine.quantize, kv)


def _workspace(engine: EngineConfig, model: ModelConfig, size: int, longest: int) -> list[PlanLine]:
    """Upper bounds of what a step holds beside weights and KV cache. The first two do not happen at once, but the
    allocator need not give the one's memory to the other."""
    attention = _attention_workspace(engine, model, size, longest)
    activations = _activation_workspace(engine, model, size)
    rows = min(engine.max_running, engine.max_batch_tokens)
    logits = rows * (model.hidden_size * size + model.vocab_size * (size + FP32 + SAMPLER_ROWS * FP32))
    unpacking = _unpacking(formats_of(engine, model), model)
    slack = max(int(ALLOCATOR_SLACK * (attention + activations + logits + unpacking)), ALLOCATOR_FLOOR)
    return [
        *_recorded(engine, model, size),
        *([PlanLine("workspace: FlashInfer", FLASHINFER_WORKSPACE)] if engine.kernels == "flashinfer" else []),
        PlanLine("workspace: attention", attention, f"{PREFILL_QUERY_BLOCK} queries by {_key_block(engine)} keys"),
        PlanLine("workspace: activations", activations, f"{engine.max_batch_tokens:,} tokens a step"),
        PlanLine("workspace: logits", logits, f"{rows:,} rows and their sampling"),
        *([PlanLine("workspace: unpacking", unpacking, "packed matrices, some rows at a time")] if unpacking else []),
        PlanLine("workspace: allocator", slack, "holes between the above"),
    ]


def _grammars(engine: EngineConfig, model: ModelConfig, available_bytes: int) -> list[PlanLine]:
    vocabulary = model.vocab_size * GRAMMAR_TOKEN_BYTES
    compiled = _grammar_bytes(engine, available_bytes)
    return [
        PlanLine("grammars: vocabulary", vocabulary, f"{model.vocab_size:,} tokens"),
        PlanLine("grammars: compiled", compiled + GRAMMAR_TRIALS, f"{_human(compiled)} kept and in use, and trials"),
    ]


def _grammar_bytes(engine: EngineConfig, available_bytes: int) -> int:
    if engine.device == "cuda":
        return GRAMMAR_MAX
    return min(GRAMMAR_MAX, max(GRAMMAR_MIN, int(available_bytes * GRAMMAR_SHARE)))


def _recorded(engine: EngineConfig, model: ModelConfig, size: int) -> list[PlanLine]:
    """Recorded decode steps: what they compute with is theirs for ever, once for all sizes (on a CPU every layer's
    apart), and each has a description for every kernel of every layer. A GPU's is reckoned from published figures, not
    yet measured here."""
    sizes = recorded_sizes(engine)
    if not sizes:
        return []
    if engine.device == "cuda":
        one = msgspec.structs.replace(engine, max_batch_tokens=max(2, sizes[-1]))
        parts = max(DECODE_PARTS, sizes[-1]) * DECODE_PART_BYTES
        held, layer = _activation_workspace(one, model, size) + parts, GRAPH_LAYER_BYTES
    else:
        results = sizes[-1] * model.num_hidden_layers * _native_results(model, size)
        held, layer = int(results * (1 + TAPE_WASTE)) + TAPE_CHUNK, TAPE_LAYER_BYTES
    described = len(sizes) * model.num_hidden_layers * layer
    return [PlanLine("recorded steps", held + described, f"{len(sizes)} sizes of up to {sizes[-1]} requests")]


def _native_results(model: ModelConfig, size: int) -> int:
    """What the native kernels return in a layer for one token, in bytes."""
    D, attention = model.hidden_size, model.attention
    values = 6 * D  # of the two norms (and the stream beside one), attention, feed-forward, and the stream again
    if isinstance(attention, MLAConfig):
        queries = attention.heads * (attention.nope + attention.rotary)
        first_stage = (attention.query_rank or queries) + attention.latent + attention.rotary
        values += first_stage + (attention.query_rank or 0) + 2 * queries + attention.heads * attention.value
    else:
        values += (3 * attention.heads + 2 * attention.kv_heads) * attention.head
    if model.mlp is not None and model.mlp.activation != "silu":
        values += 2 * model.mlp.width
    routed = model.moe.per_token * (8 + FP32) if model.moe else 0
    return (values + (2 * D if model.moe else 0)) * size + routed


def _unpacking(formats: Formats, model: ModelConfig) -> int:
    """The rows of one matrix that are unpacked at a time, at least a block of the widest."""
    if formats.linear == formats.experts == "plain":
        return 0
    widest = max(matrix.columns for held in matrices(model).values() for matrix in held)
    return max(UNPACKED_VALUES, FP8_BLOCK * widest) * UNPACKING_BYTES


def _attention_workspace(engine: EngineConfig, model: ModelConfig, size: int, longest: int) -> int:
    """The larger of a full prefill chunk and the widest decode group, on top of the layer's projections."""
    # As many keys as a group may gather; each row may add one block of padding; a long request exceeds it alone.
    rows = min(engine.max_running, engine.max_batch_tokens)
    keys = min(max(DECODE_WORKSPACE_TOKENS, longest), rows * longest) + rows * engine.block_size
    if isinstance(model.attention, MLAConfig):
        return _mla_workspace(engine, model.hidden_size, model.attention, size, rows, keys)
    return _gqa_workspace(engine, model.hidden_size, model.attention, size, rows, keys)


def _mla_workspace(engine: EngineConfig, D: int, attention: MLAConfig, size: int, rows: int, keys: int) -> int:
    H, L, R, V, N = attention.heads, attention.latent, attention.rotary, attention.value, attention.nope
    Q, C, T = N + R, L + R, engine.max_batch_tokens
    first_stage = (attention.query_rank or H * Q) + C
    # Normalised input, first stage and its norms; queries before, during (fp32) and after rotation; outputs.
    projections = T * ((D + 2 * first_stage + 3 * H * Q + 2 * H * V + D) * size + 2 * (H + 1) * R * FP32)
    expanded = _key_block(engine) * (2 * C + H * (2 * N + R + 2 * V)) * size
    gathered = 2 * C * size + (C if engine.kv_cache_dtype == "fp8" else 0)  # once as it is cached
    decode = keys * (gathered + H * (2 * FP32 + 2 * size) + 1) + rows * H * (2 * C + 2 * L + V) * size
    return projections + max(_prefill_workspace(engine, H, Q, V, size) + expanded, decode)


def _gqa_workspace(engine: EngineConfig, D: int, attention: GQAConfig, size: int, rows: int, keys: int) -> int:
    H, G, W, T = attention.heads, attention.kv_heads, attention.head, engine.max_batch_tokens
    every = H + 2 * G
    # Normalised input, the projection, its norms; queries and keys before, during (fp32) and after rotation; outputs.
    projections = T * ((D + (4 * every + 2 * H) * W + D) * size + 2 * (H + G) * W * FP32)
    expanded = _key_block(engine) * (2 * G + 2 * H) * W * size
    # The gathered keys and values, and contiguous copies of both for the two products.
    gathered = 4 * G * W * size + (2 * G * W if engine.kv_cache_dtype == "fp8" else 0)
    decode = keys * (gathered + H * (2 * FP32 + 2 * size) + 1) + rows * H * 3 * W * size
    return projections + max(_prefill_workspace(engine, H, W, W, size) + expanded, decode)


def _key_block(engine: EngineConfig) -> int:
    keys = PREFILL_KEY_BLOCK_TRITON if engine.kernels in ("triton", "flashinfer") else PREFILL_KEY_BLOCK
    return max(keys, engine.block_size)


def _prefill_workspace(engine: EngineConfig, H: int, Q: int, V: int, size: int) -> int:
    """Queries by head, the merged output with its peak and total, and the scores of one tile."""
    T = engine.max_batch_tokens
    running = T * H * (Q * size + V * (size + FP32) + 2 * FP32)
    tile = min(PREFILL_QUERY_BLOCK, T) * _key_block(engine)
    return running + H * tile * (2 * FP32 + 2 * size) + H * PREFILL_QUERY_BLOCK * (Q + 2 * V) * FP32


def _activation_workspace(engine: EngineConfig, model: ModelConfig, size: int) -> int:
    """The residual stream and the wider of the two kinds of feed-forward block."""
    D, T = model.hidden_size, engine.max_batch_tokens
    stream = T * (3 * D * size + D * FP32)  # the norm works on a copy in fp32
    dense = _dense_workspace(model.mlp, D, T, size) if model.mlp else 0
    sparse = _sparse_workspace(model.moe, D, T, size) if model.moe else 0
    return stream + max(dense, sparse)


def _dense_workspace(mlp: MLPConfig, D: int, T: int, size: int) -> int:
    if mlp.activation == "silu":
        return T * (D + 4 * mlp.width) * size
    return T * ((D + 2 * mlp.width) * size + 6 * mlp.width * FP32)  # xIELU's curve is computed in fp32


def _sparse_workspace(moe: MoEConfig, D: int, T: int, size: int) -> int:
    # Rows are copied once per expert visited; each product exists in pieces and joined.
    visits = T * moe.per_token * ((3 * D + 5 * moe.width) * size + 8 * FP32)
    shared = T * (2 * D + 4 * moe.shared) * size
    routing = T * (D + 4 * moe.experts) * FP32
    return visits + shared + routing


def resolve_dtype(asked: str, model: ModelConfig) -> tuple[str, list[str]]:
    """The dtype to compute in, and what to tell of it. Raises ConfigError."""
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
