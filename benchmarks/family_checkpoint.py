"""A random model that speaks a family's format: python -m benchmarks.family_checkpoint TOKENIZER TEMPLATE OUT

For benchmarks/tool_validity.py. TOKENIZER is a folder with tokenizer.json and tokenizer_config.json as published,
TEMPLATE the chat template; the architecture is DeepSeek's whatever the family, with few weights, so that a server
computes hundreds of tokens a second.
"""

import argparse
import shutil
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

CONTEXT = 65536


def write(tokenizer: Path, template: Path, out: Path) -> None:
    out.mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        if (tokenizer / name).exists():
            shutil.copy(tokenizer / name, out)
    shutil.copy(template, out / "chat_template.jinja")
    size = Tokenizer.from_file(str(out / "tokenizer.json")).get_vocab_size()
    torch.manual_seed(1)
    config = DeepseekV3Config(
        vocab_size=-(-size // 64) * 64, hidden_size=64, intermediate_size=128, moe_intermediate_size=32,
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4, n_routed_experts=4, num_experts_per_tok=2,
        n_group=1, topk_group=1, q_lora_rank=32, kv_lora_rank=32, qk_rope_head_dim=16, qk_nope_head_dim=32,
        v_head_dim=32, first_k_dense_replace=1, max_position_embeddings=CONTEXT,
    )  # fmt: skip
    model = DeepseekV3ForCausalLM(config).to(torch.bfloat16)
    for name, parameter in model.named_parameters():
        if "norm" not in name:
            parameter.data.normal_(std=parameter.shape[-1] ** -0.5)
    model.save_pretrained(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("template", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    write(options.tokenizer, options.template, options.out)


if __name__ == "__main__":
    main()
