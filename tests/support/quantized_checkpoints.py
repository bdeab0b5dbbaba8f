"""Writes checkpoints in the published quantised layouts, from plain ones: the same matrices, packed."""

import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.kernels.formats import Format
from engine.kernels.packed import dequantize, quantize

FP8: dict[str, Any] = {
    "activation_scheme": "dynamic",
    "fmt": "e4m3",
    "quant_method": "fp8",
    "weight_block_size": [128, 128],
}
# As K2-Thinking and K2.5 have it.
INT4: dict[str, Any] = {
    "config_groups": {
        "group_0": {
            "input_activations": None,
            "output_activations": None,
            "targets": ["Linear"],
            "weights": {
                "actorder": None,
                "block_structure": None,
                "dynamic": False,
                "group_size": 32,
                "num_bits": 4,
                "observer": "minmax",
                "observer_kwargs": {},
                "strategy": "group",
                "symmetric": True,
                "type": "int",
            },
        }
    },
    "format": "pack-quantized",
    "ignore": [
        "lm_head",
        "re:.*self_attn.*",
        "re:.*shared_experts.*",
        r"re:.*mlp\.(gate|up|gate_up|down)_proj.*",
    ],
    "kv_cache_scheme": None,
    "quant_method": "compressed-tensors",
    "quantization_status": "compressed",
}
# Of the scales in published files.
SCALES: dict[Format, torch.dtype] = {"fp8": torch.float32, "int4": torch.bfloat16}
LINEAR = re.compile(r".*(proj|proj_with_mqa)\.weight")
EXPERT = re.compile(r".*\.mlp\.experts\.\d+\..*proj\.weight")


def to_fp8(source: Path, target: Path) -> None:
    """All linear layers, as DeepSeek V3, Kimi K2 and Qwen3's FP8 are published; `target` becomes the plain twin's."""
    _write(source, target, FP8, LINEAR, "fp8")


def to_int4(source: Path, target: Path) -> None:
    """The routed experts."""
    _write(source, target, INT4, EXPERT, "int4")


def pack(name: str, tensor: Tensor, format: Format) -> dict[str, Tensor]:
    """The tensors of a published checkpoint that hold this matrix."""
    packed = quantize(tensor, format, SCALES[format])
    assert packed.scale is not None
    if format == "fp8":
        return {name: packed.values, f"{name}_scale_inv": packed.scale}
    base = name.removesuffix(".weight")
    shape = torch.tensor(tensor.shape)
    return {f"{base}.weight_packed": packed.values, f"{base}.weight_scale": packed.scale, f"{base}.weight_shape": shape}


def round_trip(tensor: Tensor, format: Format) -> Tensor:
    """What is left of a matrix that was packed and unpacked."""
    return dequantize(quantize(tensor, format, SCALES[format]), tensor.dtype)


def _write(source: Path, target: Path, config: dict[str, Any], which: re.Pattern[str], format: Format) -> None:
    tensors: dict[str, Tensor] = {}
    for name, tensor in load_file(source / "model.safetensors").items():
        tensors |= pack(name, tensor, format) if which.fullmatch(name) else {name: tensor}
    target.mkdir(exist_ok=True)
    save_file(tensors, target / "model.safetensors")
    raw = json.loads((source / "config.json").read_text())
    (target / "config.json").write_text(json.dumps({**raw, "quantization_config": config}))


def rounded(source: Path, target: Path, which: re.Pattern[str], format: Format) -> None:
    """A plain checkpoint whose matrices have been packed and unpacked: what a packed one must compute."""
    tensors = load_file(source / "model.safetensors")
    for name, tensor in tensors.items():
        if which.fullmatch(name):
            tensors[name] = round_trip(tensor, format)
    target.mkdir(exist_ok=True)
    save_file(tensors, target / "model.safetensors")
    (target / "config.json").write_bytes((source / "config.json").read_bytes())
