"""Writes a checkpoint of Kimi K2's architecture with random weights, laid out as the real one is published.

    python -m demo.random_checkpoint --preset tiny OUT

The weights depend only on the preset and the seed. Shards are made one after the other, so memory stays at about one
shard. Such a model talks nonsense, but at the speed and through all the code of a real one of its size; see
`_token_biases` for how it is kept to words and made to end its answers.
"""

import argparse
import hashlib
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from demo.default import MARKER
from demo.presets import PRESETS, Shape, model_config
from demo.tokenizer import END_OF_TURN, RANKS, VOCAB_SIZE, learn_ranks, write_tokenizer

SHARD_BYTES = 512 * 2**20
SEED = 1954  # the year K2 was first climbed


@dataclass(frozen=True)
class TensorSpec:
    """One tensor to write. `std` None: ones (a norm's weight). `silent`: does not write to residual dimension 0."""

    name: str
    shape: tuple[int, ...]
    std: float | None
    silent: bool = False

    @property
    def is_router_bias(self) -> bool:
        return self.name.endswith("e_score_correction_bias")

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * (4 if self.is_router_bias else 2)


def tensor_specs(s: Shape) -> Iterator[TensorSpec]:
    """Every tensor of the model under its published name. A matrix of n inputs gets a standard deviation near
    1/sqrt(n), so that activations and scores keep an ordinary scale."""
    hidden = s.hidden_size
    yield TensorSpec("model.embed_tokens.weight", (VOCAB_SIZE, hidden), 1.0)
    for layer in range(s.num_hidden_layers):
        prefix = f"model.layers.{layer}."
        yield TensorSpec(prefix + "input_layernorm.weight", (hidden,), None)
        yield from _attention_specs(s, prefix + "self_attn.")
        yield TensorSpec(prefix + "post_attention_layernorm.weight", (hidden,), None)
        if layer < s.first_k_dense_replace:
            yield from _mlp_specs(prefix + "mlp.", hidden, s.intermediate_size)
            continue
        yield TensorSpec(prefix + "mlp.gate.weight", (s.n_routed_experts, hidden), 1 / math.sqrt(hidden))
        yield TensorSpec(prefix + "mlp.gate.e_score_correction_bias", (s.n_routed_experts,), 0.02)
        shared = s.n_shared_experts * s.moe_intermediate_size
        yield from _mlp_specs(prefix + "mlp.shared_experts.", hidden, shared)
        for expert in range(s.n_routed_experts):
            yield from _mlp_specs(f"{prefix}mlp.experts.{expert}.", hidden, s.moe_intermediate_size)
    yield TensorSpec("model.norm.weight", (hidden,), None)
    yield TensorSpec("lm_head.weight", (VOCAB_SIZE, hidden), LOGIT_STD / math.sqrt(hidden))


def _attention_specs(s: Shape, prefix: str) -> Iterator[TensorSpec]:
    heads, hidden = s.num_attention_heads, s.hidden_size
    query = heads * (s.qk_nope_head_dim + s.qk_rope_head_dim)
    key_value = heads * (s.qk_nope_head_dim + s.v_head_dim)
    yield TensorSpec(prefix + "q_a_proj.weight", (s.q_lora_rank, hidden), 1 / math.sqrt(hidden))
    yield TensorSpec(prefix + "q_a_layernorm.weight", (s.q_lora_rank,), None)
    yield TensorSpec(prefix + "q_b_proj.weight", (query, s.q_lora_rank), 1 / math.sqrt(s.q_lora_rank))
    latent = s.kv_lora_rank + s.qk_rope_head_dim
    yield TensorSpec(prefix + "kv_a_proj_with_mqa.weight", (latent, hidden), 1 / math.sqrt(hidden))
    yield TensorSpec(prefix + "kv_a_layernorm.weight", (s.kv_lora_rank,), None)
    yield TensorSpec(prefix + "kv_b_proj.weight", (key_value, s.kv_lora_rank), 1 / math.sqrt(s.kv_lora_rank))
    value = heads * s.v_head_dim
    yield TensorSpec(prefix + "o_proj.weight", (hidden, value), 1 / math.sqrt(value), silent=True)


def _mlp_specs(prefix: str, hidden: int, width: int) -> Iterator[TensorSpec]:
    yield TensorSpec(prefix + "gate_proj.weight", (width, hidden), 1 / math.sqrt(hidden))
    yield TensorSpec(prefix + "up_proj.weight", (width, hidden), 1 / math.sqrt(hidden))
    yield TensorSpec(prefix + "down_proj.weight", (hidden, width), 0.5 / math.sqrt(width), silent=True)


LOGIT_STD = 1.3
CONSTANT = 4.0  # what residual dimension 0 holds, at every position and layer
END_BIAS = 3.4  # at temperature 0.6, about one token in 150 ends the turn
UNWANTED_BIAS = -8.0


def _token_biases(ranks: list[bytes]) -> torch.Tensor:
    """A bias for each token's logit, [VOCAB_SIZE]: words and light punctuation are welcome, other tokens rare.

    The architecture has no bias in its output, so one dimension of the residual stream is made to play it:

        embedding[:, 0] = CONSTANT      nothing writes to dimension 0 afterwards (`silent`),
        hidden[0] = CONSTANT / rms      so the final norm leaves a near-constant there,
        lm_head[:, 0] = bias / hidden[0]    and that column adds `bias` to the logits.
    """
    bias_V = torch.full((VOCAB_SIZE,), UNWANTED_BIAS)
    for rank, token in enumerate(ranks):
        if re.fullmatch(rb" [A-Za-z]{2,}|[,.]|\.?\n+", token):
            bias_V[rank] = 0.0
    bias_V[END_OF_TURN] = END_BIAS
    return bias_V


def make_tensor(spec: TensorSpec, seed: int, token_biases_V: torch.Tensor, depth: int) -> torch.Tensor:
    """The tensor's values; they depend on its name and the seed alone, not on what was made before."""
    if spec.std is None:
        return torch.ones(spec.shape, dtype=torch.bfloat16)
    key = hashlib.sha256(f"{seed}:{spec.name}".encode()).digest()[:7]
    generator = torch.Generator().manual_seed(int.from_bytes(key, "little"))
    values = torch.randn(spec.shape, generator=generator) * spec.std
    if spec.is_router_bias:
        return values
    if spec.silent:
        values[0] = 0.0
    if spec.name == "model.embed_tokens.weight":
        values[:, 0] = CONSTANT
    if spec.name == "lm_head.weight":
        values[RANKS:] = 0.0  # control tokens: the bias alone
        values[:, 0] = token_biases_V / (CONSTANT / _residual_rms(spec.shape[1], depth))
    return values.to(torch.bfloat16)


def _residual_rms(hidden: int, depth: int) -> float:
    """Roughly the root mean square of the residual stream before the final norm: embeddings bring a variance of 1,
    each layer about 0.35 (measured), dimension 0 its constant."""
    return math.sqrt(1 + 0.35 * depth + CONSTANT**2 / hidden)


def write_checkpoint(folder: Path, preset: str, seed: int = SEED, shard_bytes: int = SHARD_BYTES) -> int:
    """Writes the checkpoint into `folder`, which is made. Returns the number of parameters."""
    shape = PRESETS[preset]
    folder.mkdir(parents=True, exist_ok=True)
    ranks = learn_ranks()
    write_tokenizer(folder, ranks)
    _write_json(folder / "config.json", model_config(shape))
    generation = {"eos_token_id": END_OF_TURN, "temperature": 0.6, "max_length": shape.max_position_embeddings}
    _write_json(folder / "generation_config.json", generation)
    biases_V = _token_biases(ranks)
    shards = _shards(list(tensor_specs(shape)), shard_bytes)
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors" if len(shards) > 1 else "model.safetensors"
        tensors = {spec.name: make_tensor(spec, seed, biases_V, shape.num_hidden_layers) for spec in shard}
        save_file(tensors, folder / name, metadata={"format": "pt"})
        (folder / name).chmod(0o644)  # safetensors makes it readable for the owner only
        weight_map |= dict.fromkeys(tensors, name)
    if len(shards) > 1:
        total = sum(spec.bytes for shard in shards for spec in shard)
        _write_json(
            folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": weight_map}
        )
    _write_json(folder / MARKER, {"preset": preset, "seed": seed})
    return sum(math.prod(spec.shape) for shard in shards for spec in shard)


def _shards(specs: list[TensorSpec], limit: int) -> list[list[TensorSpec]]:
    """Consecutive tensors in groups of at most `limit` bytes, or of one tensor."""
    shards: list[list[TensorSpec]] = []
    room = -1
    for spec in specs:
        if spec.bytes > room:
            shards.append([])
            room = limit
        shards[-1].append(spec)
        room -= spec.bytes
    return shards


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m demo.random_checkpoint", description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder to write; must not hold a checkpoint yet")
    parser.add_argument("--preset", choices=PRESETS, default="tiny", help="size of the model (default: tiny)")
    parser.add_argument("--seed", type=int, default=SEED, help=f"default: {SEED}")
    arguments = parser.parse_args()
    if (arguments.out / "config.json").exists():
        parser.error(f"{arguments.out} holds a checkpoint already")
    parameters = write_checkpoint(arguments.out, arguments.preset, arguments.seed)
    print(f"{arguments.out}: {parameters / 1e6:.1f} million parameters, random")


if __name__ == "__main__":
    main()
