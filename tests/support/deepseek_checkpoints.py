"""Tiny random checkpoints of the DeepSeek-V3 architecture, written by transformers, and batches to run them with.

Shapes as in engine/models/batch.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

from engine.kernels.formats import Formats
from engine.layers.weight import Forms
from engine.models.batch import DecodeGroup, ForwardBatch, PrefillChunk
from engine.models.configs.read import load_model_config
from engine.runner.kv_store import KVStore
from engine.weights.loader import load_model

YARN: dict[str, Any] = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "original_max_position_embeddings": 64,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
}
TINY: dict[str, Any] = {
    "vocab_size": 211,
    "hidden_size": 48,
    "intermediate_size": 80,
    "moe_intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "n_routed_experts": 12,
    "n_shared_experts": 1,
    "num_experts_per_tok": 3,
    "n_group": 1,
    "topk_group": 1,
    "q_lora_rank": 24,
    "kv_lora_rank": 32,
    "qk_rope_head_dim": 16,
    "qk_nope_head_dim": 20,
    "v_head_dim": 12,
    "first_k_dense_replace": 1,
    "routed_scaling_factor": 1.7,
    "norm_topk_prob": True,
    "tie_word_embeddings": False,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-6,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    "num_nextn_predict_layers": 0,
}


def write_checkpoint(folder: Path, **changes: Any) -> DeepseekV3ForCausalLM:
    """Saves a random model with TINY's settings, changed as said, and returns it: the oracle."""
    torch.manual_seed(17)
    oracle = DeepseekV3ForCausalLM(DeepseekV3Config(**{**TINY, **changes}, attn_implementation="eager")).eval()
    with torch.no_grad():
        for name, tensor in [*oracle.named_parameters(), *oracle.named_buffers()]:
            if "norm" in name:
                tensor.copy_(1 + 0.2 * torch.randn_like(tensor))
            elif "e_score_correction_bias" in name:
                tensor.copy_(0.3 * torch.randn_like(tensor))
            elif "inv_freq" not in name:
                tensor.copy_(torch.randn_like(tensor) * 1.5 / tensor.shape[-1] ** 0.5)
    oracle.save_pretrained(folder)
    return oracle


@dataclass
class Sequencer:
    """Drives a loaded model: keeps each request's tokens and scattered block table, and builds batches."""

    model: torch.nn.Module
    kv: KVStore
    free: list[int]
    tokens: dict[str, list[int]] = field(default_factory=dict)
    blocks: dict[str, list[int]] = field(default_factory=dict)

    @classmethod
    def load(
        cls, folder: Path, *, blocks: int = 64, block_size: int = 4, formats: Formats | None = None
    ) -> "Sequencer":
        """`formats` are the checkpoint's own unless given."""
        config, cpu = load_model_config(folder), torch.device("cpu")
        dtype = getattr(torch, config.dtype)
        forms = Forms(dtype, config.formats if formats is None else formats)
        loaded = load_model(folder, config, forms, cpu, lambda done: None)
        kv = KVStore(config, blocks, block_size, dtype, cpu)
        order = torch.randperm(blocks, generator=torch.Generator().manual_seed(3)).tolist()
        return cls(loaded.model, kv, order)

    def step(self, work: dict[str, Sequence[int]]) -> dict[str, Tensor]:
        """Computes the given next tokens of each request in one batch. Returns the logits [count, V] of each."""
        with torch.inference_mode():
            logits = self.model(self.batch(work), self.kv)
        assert logits.dtype == torch.float32
        return dict(zip(work, logits.split([len(new) for new in work.values()]), strict=True))

    def batch(self, work: dict[str, Sequence[int]]) -> ForwardBatch:
        """Takes note of the new tokens and gives them blocks. All logits are wanted."""
        ids: list[int] = []
        positions: list[int] = []
        slots: list[int] = []
        decoding: list[tuple[str, int]] = []
        prefill: list[PrefillChunk] = []
        size = self.kv.block_size
        for name, new in work.items():
            known, blocks = self.tokens.setdefault(name, []), self.blocks.setdefault(name, [])
            start = len(known)
            known += new
            blocks += [self.free.pop() for _ in range(-(-len(known) // size) - len(blocks))]
            if len(new) == 1:
                decoding.append((name, len(ids)))
            else:
                prefill.append(PrefillChunk(len(ids), len(new), start, torch.tensor(blocks)))
            ids += new
            positions += range(start, len(known))
            slots += [blocks[p // size] * size + p % size for p in range(start, len(known))]
        return ForwardBatch(
            token_ids_T=torch.tensor(ids),
            positions_T=torch.tensor(positions),
            slots_T=torch.tensor(slots),
            decode=(self._group(decoding),) if decoding else (),
            prefill=tuple(prefill),
            logit_tokens_N=torch.arange(len(ids)),
        )

    def _group(self, members: list[tuple[str, int]]) -> DecodeGroup:
        tables = [self.blocks[name] for name, _ in members]
        longest = max(len(table) for table in tables)
        return DecodeGroup(
            tokens_R=torch.tensor([token for _, token in members]),
            block_table_RB=torch.tensor([table + [0] * (longest - len(table)) for table in tables]),
            context_lens_R=torch.tensor([len(self.tokens[name]) for name, _ in members]),
        )


def oracle_logits(oracle: DeepseekV3ForCausalLM, tokens: Sequence[int]) -> Tensor:
    with torch.inference_mode():
        return oracle(torch.tensor([tokens])).logits[0].float()


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    return ((ours - theirs).norm() / theirs.norm()).item()


def random_tokens(count: int, seed: int = 0, vocab: int = TINY["vocab_size"]) -> list[int]:
    return torch.randint(vocab, (count,), generator=torch.Generator().manual_seed(seed)).tolist()
