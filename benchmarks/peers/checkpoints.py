"""Writes the checkpoints that the comparison serves: python -m benchmarks.peers.checkpoints FOLDER/ckpt

Random weights in published formats that every engine reads, with a tokenizer of 32,768 pieces trained on this
interpreter's own library: k2-small (1.29 billion parameters, of which a token uses 251 million) and k2-tiny (48
million) in Kimi K2's architecture, qwen3moe-small (1.34 billion, 211 million) in Qwen3's. No token that is not text by
itself is ever the likeliest, so that greedy answers stream text and never end by themselves.
"""

import argparse
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    DeepseekV3Config,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen3MoeConfig,
)

VOCABULARY = 32768
BEGIN, END, PAD = "<|begin|>", "<|end|>", "<|pad|>"
TEXT_BYTES = 24_000_000
ORDINARY = {"vocab_size": VOCABULARY, "max_position_embeddings": 8192, "tie_word_embeddings": False}
ORDINARY |= {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
# hidden, layers, heads, query rank, latent, rotary, other query and value, dense and expert width, experts, of a token
K2_SIZES = {
    "k2-tiny": (512, 4, 8, 256, 128, 32, 64, 1024, 128, 16, 4),
    "k2-small": (1024, 12, 16, 512, 512, 64, 128, 4096, 512, 64, 6),
}


def configs() -> dict[str, PreTrainedConfig]:
    made: dict[str, PreTrainedConfig] = {}
    for name, (D, layers, H, W, L, R, N, dense, F, E, K) in K2_SIZES.items():
        made[name] = DeepseekV3Config(
            **ORDINARY, hidden_size=D, num_hidden_layers=layers, num_attention_heads=H, num_key_value_heads=H,
            q_lora_rank=W, kv_lora_rank=L, qk_rope_head_dim=R, qk_nope_head_dim=N, v_head_dim=N,
            intermediate_size=dense, moe_intermediate_size=F, n_routed_experts=E, num_experts_per_tok=K, n_group=1,
            topk_group=1, first_k_dense_replace=1, routed_scaling_factor=2.827,
        )  # fmt: skip
    made["qwen3moe-small"] = Qwen3MoeConfig(
        **ORDINARY, hidden_size=1024, num_hidden_layers=12, num_attention_heads=16, num_key_value_heads=4, head_dim=128,
        intermediate_size=4096, moe_intermediate_size=512, num_experts=64, num_experts_per_tok=6, norm_topk_prob=True,
    )  # fmt: skip
    return made


def train_tokenizer(folder: Path) -> Tokenizer:
    """Byte-level pieces by GPT-2's rules, which converters know."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[BEGIN, END, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    short = VOCABULARY - tokenizer.get_vocab_size()
    tokenizer.add_special_tokens([f"<|reserved_{number}|>" for number in range(short)])
    held = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BEGIN, eos_token=END, pad_token=PAD)
    held.save_pretrained(folder)
    return tokenizer


def _texts() -> Iterator[str]:
    read = 0
    for file in sorted(Path(sysconfig.get_paths()["stdlib"]).rglob("*.py")):
        if "site-packages" in file.parts or read > TEXT_BYTES:
            continue
        text = file.read_text("utf-8", errors="replace")
        read += len(text)
        yield text


def write_model(folder: Path, config: PreTrainedConfig, tokenizer: Tokenizer) -> None:
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    alone = (tokenizer.decode([token], skip_special_tokens=True) for token in range(VOCABULARY))
    silent = [token for token, text in enumerate(alone) if not text or "\ufffd" in text]
    model.get_output_embeddings().weight.data[silent] = 0
    model.save_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    tokenizer = train_tokenizer(folder / "tokenizer")
    for name, config in configs().items():
        write_model(folder / name, config, tokenizer)
        for file in (folder / "tokenizer").iterdir():
            (folder / name / file.name).write_bytes(file.read_bytes())
        print(f"{folder / name} is written", flush=True)


if __name__ == "__main__":
    main()
