"""load_model: a checkpoint folder becomes a model with weights.

Owns the order of things: build without memory, allocate each parameter once, stream tensor by tensor into it. Strict:
what does not match exactly is an error. Names are `names.py`'s affair, files are `safetensors_folder.py`'s.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from engine.errors import CheckpointError
from engine.models.config import ModelConfig
from engine.models.registry import build_model
from engine.weights.names import Expected, expected_tensors, known_extra
from engine.weights.safetensors_folder import read_tensors, tensor_files

LOADABLE = (torch.bfloat16, torch.float32, torch.float16)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model ready to run, and what the operator should know of how it was loaded."""

    model: nn.Module
    notes: list[str]


def load_model(
    folder: Path,
    config: ModelConfig,
    dtype: torch.dtype,
    device: torch.device,
    progress: Callable[[float], None],
) -> LoadedModel:
    """Loads `folder` on `device`. `progress` is called with the share done, 0 to 1. Raises CheckpointError."""
    progress(0.0)
    files = tensor_files(folder)
    expected = {tensor.name: tensor for tensor in expected_tensors(config)}
    notes = _check_names(folder, config, files, expected)

    with torch.device("meta"):
        model = build_model(config, dtype)
    _allocate(model, device)
    parameters = dict(model.named_parameters())
    by_file: dict[Path, list[str]] = {}
    for name, file in files.items():
        if name in expected:
            by_file.setdefault(file, []).append(name)

    total, done = sum(p.numel() for p in parameters.values()), 0
    for file, names in by_file.items():
        for name, tensor in read_tensors(file, names):
            _copy(file, tensor, expected[name], parameters)
            done += tensor.numel()
            progress(done / total)
    return LoadedModel(model.eval(), notes)


def _check_names(folder: Path, config: ModelConfig, files: dict[str, Path], expected: dict[str, Expected]) -> list[str]:
    """Refuses missing and unexpected tensors; returns notes on those left out on purpose."""
    missing = [name for name in expected if name not in files]
    if missing:
        raise CheckpointError(f"{folder}: weight {missing[0]} is missing{_and_others(missing)}")
    skipped: Counter[str] = Counter()
    strange = []
    for name in files:
        if name in expected:
            continue
        reason = known_extra(name, config)
        if reason is None:
            strange.append(name)
        else:
            skipped[reason] += 1
    if strange:
        raise CheckpointError(f"{files[strange[0]]}: weight {strange[0]} is unexpected{_and_others(strange)}")
    return [f"skipped {count} tensor{'s' * (count > 1)}: {reason}" for reason, count in skipped.items()]


def _and_others(names: list[str]) -> str:
    return f", and {len(names) - 1} more" if len(names) > 1 else ""


def _allocate(model: nn.Module, device: torch.device) -> None:
    """Gives every parameter its memory. Buffers were computed when the model was built; they only move."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            empty = torch.empty_like(parameter, device=device)
            setattr(module, name, nn.Parameter(empty, requires_grad=False))
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, buffer.to(device))


def _copy(file: Path, tensor: Tensor, expected: Expected, parameters: dict[str, nn.Parameter]) -> None:
    if tuple(tensor.shape) != expected.shape:
        raise CheckpointError(
            f"{file}: weight {expected.name} has shape {list(tensor.shape)}, but config.json makes it "
            f"{list(expected.shape)}"
        )
    if tensor.dtype not in LOADABLE:
        raise CheckpointError(f"{file}: weight {expected.name} has dtype {tensor.dtype}, which is not supported yet")
    if expected.view is not None:
        tensor = tensor.view(expected.view)
    for copy in expected.copies:
        parameters[copy.parameter].data[copy.target].copy_(tensor[copy.source])
