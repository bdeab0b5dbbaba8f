"""A checkpoint folder's safetensors files: which tensor lies where, and reading one at a time.

Owns what can be wrong with the files themselves. Knows no model. Every error is a CheckpointError of one line that
names the file.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from engine.errors import CheckpointError

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"


def tensor_files(folder: Path) -> dict[str, Path]:
    """Tensor name -> the file that holds it, files in order. Opens every file: a missing or truncated one, or an index
    that disagrees with them, is found here, before any weight is loaded."""
    single, index = folder / SINGLE, folder / INDEX
    if index.exists() and single.exists():
        raise CheckpointError(f"{folder} holds both {SINGLE} and {INDEX}: remove the one that is not meant")
    if single.exists():
        return dict.fromkeys(_names(single), single)
    if not index.exists():
        raise CheckpointError(f"{folder} holds neither {SINGLE} nor {INDEX}")

    indexed = _read_index(index)
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


def read_tensors(file: Path, names: list[str]) -> Iterator[tuple[str, Tensor]]:
    """Yields tensors of one file, mapped from disk rather than read into memory: copy them, do not keep them."""
    try:
        with safe_open(file, framework="pt") as opened:
            for name in names:
                yield name, opened.get_tensor(name)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file} cannot be read: {error}") from None


def _names(file: Path) -> list[str]:
    """The tensors of one file in the order in which they lie in it."""
    try:
        with safe_open(file, framework="pt") as opened:
            return list(opened.offset_keys())
    except FileNotFoundError:
        raise CheckpointError(f"{file} does not exist") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file} is damaged or truncated: {error}") from None


def _read_index(index: Path) -> dict[str, Path]:
    try:
        weight_map = json.loads(index.read_bytes())["weight_map"]
        return {str(name): index.parent / str(file) for name, file in weight_map.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} is not an index of safetensors files: {error!r}") from None
