"""load_model: a checkpoint folder becomes a model with weights.

Owns the order of things: build without memory, allocate each parameter once, stream tensor by tensor into it. Strict:
what does not match exactly is an error. Names are `names.py`'s affair, files are `safetensors_folder.py`'s.
"""

import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from engine.errors import CheckpointError
from engine.kernels.formats import FP8_BLOCK
from engine.kernels.packed import Packed, dequantize
from engine.layers.weight import Forms, Weight
from engine.models.causal import CausalModel
from engine.models.config import ModelConfig
from engine.models.registry import build_model
from engine.weights.names import CONSTANTS, Expected, Index, expected_tensors, known_extra
from engine.weights.safetensors_folder import TensorReader, tensor_files
from engine.weights.stored import parts, read

READERS = 4
PIECE_VALUES = 1 << 23  # of a matrix that are in flight at a time; packing takes about 30 bytes for each


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model ready to run, and what the operator should know of how it was loaded."""

    model: CausalModel
    notes: list[str]


def load_model(
    folder: Path,
    config: ModelConfig,
    forms: Forms,
    device: torch.device,
    progress: Callable[[float], None],
) -> LoadedModel:
    """Loads `folder` on `device`, built in `forms`. `progress` is called with the share done, 0 to 1. Raises
    CheckpointError."""
    progress(0.0)
    files = tensor_files(folder)
    expected = list(expected_tensors(config))
    notes = _check_names(folder, config, files, expected)
    _check_constants(files)

    with torch.device("meta"):
        model = build_model(config, forms)
    allocate(model, device)
    order = {file: number for number, file in enumerate(dict.fromkeys(files.values()))}
    expected.sort(key=lambda tensor: order[files[next(parts(tensor)).name]])

    def fill(tensor: Expected, given: Packed, rows: slice | None) -> None:
        _fill(model, tensor, staged(given) if device.type == "cuda" else given, rows, forms.dtype)

    _read_all(files, expected, fill, progress)
    return LoadedModel(model.eval(), notes)


def _read_all(
    files: dict[str, Path],
    expected: list[Expected],
    fill: Callable[[Expected, Packed, slice | None], None],
    progress: Callable[[float], None],
) -> None:
    """Several readers take one matrix after the other, in the files' order; each has a piece of one in flight."""
    total, done = sum(math.prod(tensor.shape) for tensor in expected), 0
    local = threading.local()
    readers: list[TensorReader] = []

    def load(tensor: Expected) -> int:
        if not hasattr(local, "reader"):
            local.reader = TensorReader(files)
            readers.append(local.reader)
        for rows in _pieces(tensor):
            fill(tensor, read(tensor, local.reader, files.__getitem__, rows), rows)
        return math.prod(tensor.shape)

    try:
        with ThreadPoolExecutor(READERS, thread_name_prefix="reader") as pool:
            for size in pool.map(load, expected):  # what fails cancels all that has not begun
                done += size
                progress(done / total)
    finally:
        for reader in readers:
            reader.close()


def _pieces(tensor: Expected) -> Iterator[slice | None]:
    """The rows to read at a time, whole blocks of them; None: all."""
    if tensor.view is not None or len(tensor.shape) != 2 or math.prod(tensor.shape) <= PIECE_VALUES:
        yield None
        return
    rows, columns = tensor.shape
    step = max(PIECE_VALUES // columns // FP8_BLOCK, 1) * FP8_BLOCK
    for first in range(0, rows, step):
        yield slice(first, min(first + step, rows))


def _check_names(folder: Path, config: ModelConfig, files: dict[str, Path], expected: list[Expected]) -> list[str]:
    """Refuses missing and unexpected tensors; returns notes on those left out on purpose."""
    wanted = dict.fromkeys(part.name for tensor in expected for part in parts(tensor))
    missing = [name for name in wanted if name not in files]
    if missing:
        raise CheckpointError(f"{folder}: weight {missing[0]} is missing{_and_others(missing)}")
    skipped: Counter[str] = Counter()
    strange = []
    for name in files:
        if name in wanted:
            continue
        reason = known_extra(name, config)
        if reason is None:
            strange.append(name)
        else:
            skipped[reason] += 1
    if strange:
        raise CheckpointError(f"{files[strange[0]]}: weight {strange[0]} is unexpected{_and_others(strange)}")
    return [f"skipped {count} tensor{'s' * (count > 1)}: {reason}" for reason, count in skipped.items()]


def _check_constants(files: dict[str, Path]) -> None:
    """Refuses tensors that say of the arithmetic what it is not here; bfloat16's rounding passes."""
    reader = TensorReader(files)
    try:
        for name, file in files.items():
            wanted = next((value for end, value in CONSTANTS.items() if name.endswith(end)), None)
            if wanted is None:
                continue
            held = reader.read(name).flatten().tolist()
            if not all(math.isclose(value, wanted, rel_tol=0.01) for value in held):
                raise CheckpointError(f"{file}: {name} is {held!r:.100}, only {wanted} is supported")
    finally:
        reader.close()


def _and_others(names: list[str]) -> str:
    return f", and {len(names) - 1} more" if len(names) > 1 else ""


def allocate(model: nn.Module, device: torch.device) -> None:
    """Gives every parameter its memory. Buffers were computed when the model was built; they only move."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            empty = torch.empty_like(parameter, device=device)
            setattr(module, name, nn.Parameter(empty, requires_grad=False))
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, buffer.to(device))


def staged(given: Packed) -> Packed:
    """A copy in page-locked memory, from which the device fetches at full speed while other readers go on. torch keeps
    such memory for the next tensor: as much as the readers have in flight."""
    return Packed(given.format, given.values.pin_memory(), None if given.scale is None else given.scale.pin_memory())


def _fill(model: nn.Module, tensor: Expected, given: Packed, rows: slice | None, dtype: torch.dtype) -> None:
    """Puts what was read where it belongs: into a Weight, in its format; into a plain parameter, as it is. `rows`:
    which of the tensor's were read, if not all."""
    for copy in tensor.copies:
        owner, _, name = copy.parameter.rpartition(".")
        module = model.get_submodule(owner)
        target = getattr(module, name)
        place = copy.target if rows is None else _rows_within(copy.target, rows)
        if isinstance(target, Weight):
            try:
                target.put(place, given)
            except CheckpointError as error:
                raise CheckpointError(f"{tensor.name}: {error}") from None
            continue
        dense = given.values if given.format == "plain" else dequantize(given, dtype)
        if tensor.view is not None:
            dense = dense.view(tensor.view)
        target.data[place].copy_(dense[copy.source])


def _rows_within(target: Index, rows: slice) -> Index:
    """Where some rows go of a tensor that becomes `target`: the whole, rows, or a matrix of a stack and rows of it."""
    *stack, part = target if target and isinstance(target[-1], slice) else (*target, slice(0, None))
    assert isinstance(part, slice)
    return (*stack, slice(part.start + rows.start, part.start + rows.stop))
