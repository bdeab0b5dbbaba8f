"""A random model with Kimi K2's vocabulary: python -m benchmarks.wide_vocabulary CHECKPOINT TOKENIZER OUT

For benchmarks/grammar_latency.py. CHECKPOINT is one of demo.random_checkpoint's, whose embedding and head are made anew
for the tokens of TOKENIZER, a folder with tiktoken.model and tokenizer_config.json as published.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

WIDE = ("model.embed_tokens.weight", "lm_head.weight")


def write(checkpoint: Path, tokenizer: Path, out: Path) -> None:
    out.mkdir(parents=True)
    for name in ("tiktoken.model", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        shutil.copy(tokenizer / name, out)
    size = json.loads((tokenizer / "config.json").read_text())["vocab_size"]
    config = json.loads((checkpoint / "config.json").read_text())
    (out / "config.json").write_text(json.dumps(config | {"vocab_size": size}))
    tensors = {name: one for file in sorted(checkpoint.glob("*.safetensors")) for name, one in load_file(file).items()}
    torch.manual_seed(1)
    for name in WIDE:
        hidden = tensors[name].shape[1]
        tensors[name] = (torch.randn(size, hidden) * hidden**-0.5).bfloat16()
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("checkpoint", "tokenizer", "out"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args()
    write(options.checkpoint, options.tokenizer, options.out)


if __name__ == "__main__":
    main()
