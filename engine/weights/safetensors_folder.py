"""A checkpoint folder's safetensors files: which tensor lies where, and reading one at a time.

Owns what can be wrong with the files themselves. Knows no model. Every error is a CheckpointError of one line that
names the file.
"""

import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from engine.errors import CheckpointError

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
SHARD = re.compile(r"model.*-\d+-of-\d+\.safetensors")
# The format's words for the dtypes of published checkpoints.
DTYPES = {
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "F32": torch.float32,
    "F64": torch.float64,
    "F8_E4M3": torch.float8_e4m3fn,
    "I8": torch.int8,
    "U8": torch.uint8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "BOOL": torch.bool,
}


def tensor_files(folder: Path) -> dict[str, Path]:
    """Tensor name -> the file that holds it, files in order. Opens every file: a missing or truncated one, or an index
    that disagrees with them, is found here, before any weight is loaded."""
    single, index = folder / SINGLE, folder / INDEX
    try:
        present = {path.name for path in folder.iterdir()}
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be read: {error.strerror}") from None
    if index.name in present and single.name in present:
        raise CheckpointError(f"{folder} holds both {SINGLE} and {INDEX}: remove the one that is not meant")
    if single.name in present:
        _check_shards(folder, present, set())
        return dict.fromkeys(_names(single), single)
    if index.name not in present:
        raise CheckpointError(f"{folder} holds neither {SINGLE} nor {INDEX}")

    indexed = _read_index(index)
    _check_shards(folder, present, {file.name for file in indexed.values()})
    found: dict[str, Path] = {}
    for file in sorted(set(indexed.values())):
        names = _names(file)
        absent = sorted(name for name, where in indexed.items() if where == file and name not in names)
        if absent:
            raise CheckpointError(f"{index} says that {file.name} holds {absent[0]}, but it does not")
        stray = sorted(name for name in names if indexed.get(name) != file)
        if stray:
            raise CheckpointError(f"{file} holds {stray[0]}, but {INDEX} does not place it there")
        found |= dict.fromkeys(names, file)
    return found


def _check_shards(folder: Path, present: set[str], indexed: set[str]) -> None:
    """Refuses shards that no index names: of another version, or under a wrong name. Other files may be there."""
    extra = sorted(name for name in present - indexed if SHARD.fullmatch(name))
    missing = sorted(indexed - present)
    if extra:
        hint = f" ({missing[0]} is missing)" if missing else ""
        raise CheckpointError(f"{folder / extra[0]} is a shard that no {INDEX} names{hint}: remove or rename it")


class TensorReader:
    """Reads tensors one at a time, each into memory of its own that goes when the tensor does: no file is mapped, so
    that no more of it is held than what is in flight. For one thread; keeps open the two files that it read last, since
    the parts of a matrix may lie in neighbours."""

    def __init__(self, files: dict[str, Path]) -> None:
        """`files` is what `tensor_files` returned."""
        self._files = files
        self._open: dict[Path, _File] = {}

    def shape(self, name: str) -> tuple[int, ...]:
        """Raises CheckpointError."""
        with self._file(name) as file:
            return file.shape(name)

    def read(self, name: str, rows: slice | None = None) -> Tensor:
        """The tensor, or some rows of it. Raises CheckpointError."""
        with self._file(name) as file:
            return file.read(name, rows)

    @contextlib.contextmanager
    def _file(self, name: str) -> Iterator["_File"]:
        path = self._files[name]
        try:
            if path not in self._open:
                if len(self._open) == 2:
                    self._open.pop(next(iter(self._open))).close()
                self._open[path] = _File(path)
            yield self._open[path]
        except (OSError, ValueError, KeyError) as error:
            raise CheckpointError(f"{path} cannot be read: {error!r}") from None

    def close(self) -> None:
        for file in self._open.values():
            file.close()


class _File:
    """One file that `tensor_files` found sound. The format: length of the header (8 bytes, little endian), the header
    (JSON: dtype, shape and data_offsets of each tensor), the data."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        length = int.from_bytes(self._file.read(8), "little")
        self._header: dict[str, Any] = json.loads(self._file.read(length))
        self._data = 8 + length

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._header[name]["shape"])

    def read(self, name: str, rows: slice | None = None) -> Tensor:
        entry = self._header[name]
        shape, (first, last) = self.shape(name), entry["data_offsets"]
        if rows is not None:
            row = (last - first) // shape[0]
            shape = (rows.stop - rows.start, *shape[1:])
            first, last = first + rows.start * row, first + rows.stop * row
        kind = DTYPES.get(entry["dtype"])
        if kind is None:
            raise ValueError(f"{name} has dtype {entry['dtype']}, which no tensor here has")
        if first == last:
            return torch.empty(shape, dtype=kind)
        buffer = bytearray(last - first)
        view, place = memoryview(buffer), self._data + first
        while view:
            count = os.preadv(self._file.fileno(), [view], place)
            if count == 0:
                raise OSError(f"the file ends within {name}")
            view, place = view[count:], place + count
        return torch.frombuffer(buffer, dtype=kind).view(shape)

    def close(self) -> None:
        self._file.close()


def _names(file: Path) -> list[str]:
    """The tensors of one file in the order in which they lie in it."""
    try:
        file.open("rb").close()  # of any that it cannot open, the library says that it does not exist
    except FileNotFoundError:
        raise CheckpointError(f"{file} does not exist") from None
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror}") from None
    try:
        with safe_open(file, framework="pt") as opened:
            return list(opened.offset_keys())
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file} is damaged or truncated: {error}") from None


def _read_index(index: Path) -> dict[str, Path]:
    try:
        weight_map = json.loads(index.read_bytes())["weight_map"]
        return {str(name): index.parent / str(file) for name, file in weight_map.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{index} is not an index of safetensors files: {error!r}") from None
