"""Writes a trained model as a Hugging Face folder: python -m demo.training.export RUN OUT"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from demo.tokenizer import END_OF_TURN
from demo.training.model import DemoModel, FeedForward, Layer, Mixture
from demo.training.shape import SHAPE, demo_config

TOKENIZER_FILES = ("tiktoken.model", "tokenizer_config.json", "chat_template.jinja")


def export(run: Path, out: Path) -> int:
    """Writes the state of `run` to `out`. Returns the number of parameters."""
    model = DemoModel(SHAPE)
    model.load_state_dict(torch.load(run / "state.pt", weights_only=True)["model"])
    return write_folder(model, run, out)


def write_folder(model: DemoModel, tokenizer: Path, out: Path) -> int:
    """Writes `model` with the tokenizer files found in `tokenizer`."""
    out.mkdir(parents=True, exist_ok=True)
    tensors = {name: _stored(name, tensor) for name, tensor in published_tensors(model)}
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)  # safetensors makes it readable for the owner only
    for name in TOKENIZER_FILES:
        (out / name).write_bytes((tokenizer / name).read_bytes())
    generation = {"eos_token_id": END_OF_TURN, "temperature": 0.0, "max_length": SHAPE.max_position_embeddings}
    for name, content in (("config.json", demo_config()), ("generation_config.json", generation)):
        (out / name).write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    return sum(tensor.numel() for tensor in tensors.values())


@torch.no_grad()
def read_folder(model: DemoModel, folder: Path) -> None:
    """Sets the weights of `model` to those that `write_folder` wrote."""
    saved = load_file(folder / "model.safetensors")
    for name, tensor in published_tensors(model):
        tensor.copy_(saved[name])


def published_tensors(model: DemoModel) -> Iterator[tuple[str, Tensor]]:
    """Every tensor under its published name."""
    yield "model.embed_tokens.weight", model.embedding
    for index, layer in enumerate(model.layers):
        assert isinstance(layer, Layer)
        for name, tensor in _layer_tensors(layer):
            yield f"model.layers.{index}.{name}", tensor
    yield "model.norm.weight", model.norm
    yield "lm_head.weight", model.head


def _layer_tensors(layer: Layer) -> Iterator[tuple[str, Tensor]]:
    attention = layer.attention
    yield "input_layernorm.weight", layer.attention_norm
    yield "post_attention_layernorm.weight", layer.ffn_norm
    yield "self_attn.q_a_proj.weight", attention.q_a
    yield "self_attn.q_a_layernorm.weight", attention.q_a_norm
    yield "self_attn.q_b_proj.weight", attention.q_b
    yield "self_attn.kv_a_proj_with_mqa.weight", attention.kv_a
    yield "self_attn.kv_a_layernorm.weight", attention.kv_a_norm
    yield "self_attn.kv_b_proj.weight", attention.kv_b
    yield "self_attn.o_proj.weight", attention.o
    if isinstance(layer.ffn, FeedForward):
        yield from _gated("mlp", layer.ffn.gate_up, layer.ffn.down)
    elif isinstance(layer.ffn, Mixture):
        yield "mlp.gate.weight", layer.ffn.router
        yield "mlp.gate.e_score_correction_bias", layer.ffn.bias_E
        yield from _gated("mlp.shared_experts", layer.ffn.shared.gate_up, layer.ffn.shared.down)
        for expert, (gate_up, down) in enumerate(zip(layer.ffn.gate_up, layer.ffn.down, strict=True)):
            yield from _gated(f"mlp.experts.{expert}", gate_up, down)


def _gated(prefix: str, gate_up: Tensor, down: Tensor) -> Iterator[tuple[str, Tensor]]:
    gate, up = gate_up.chunk(2)
    yield f"{prefix}.gate_proj.weight", gate
    yield f"{prefix}.up_proj.weight", up
    yield f"{prefix}.down_proj.weight", down


def _stored(name: str, tensor: Tensor) -> Tensor:
    dtype = torch.float32 if name.endswith("e_score_correction_bias") else torch.bfloat16
    return tensor.detach().to(dtype).contiguous()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m demo.training.export", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of demo.train")
    parser.add_argument("out", type=Path, help="folder to write")
    options = parser.parse_args()
    print(f"{options.out}: {export(options.run, options.out) / 1e6:.1f} million parameters")


if __name__ == "__main__":
    main()
