"""The compiled library of this folder: finding it, its functions with their types, its structs. Knows no tensors.

It is built when the package is installed, if there is a C++ compiler (pyproject.toml), and chooses among instruction
sets when it is loaded. `ABRUZZI_INSTRUCTION_SET` overrides, for tests and measurements.
"""

import ctypes
import os
from collections.abc import Callable
from ctypes import Array, c_char_p, c_float, c_int, c_int32, c_int64, c_uint64, c_void_p
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Protocol

from engine.errors import ConfigError

FORMATS = {"plain": 0, "fp8": 1, "int8": 2, "int4": 3}
VARIABLE = "ABRUZZI_INSTRUCTION_SET"


class Matrix(ctypes.Structure):
    """types.hpp has these structs' meaning."""

    _fields_ = (
        ("values", c_void_p),
        ("scale", c_void_p),
        ("rows", c_int64),
        ("columns", c_int64),
        ("format", c_int32),
        ("scale_is_float", c_int32),
    )


class Cache(ctypes.Structure):
    _fields_ = (("data", c_void_p), ("block_size", c_int64), ("width", c_int64))


class Router(ctypes.Structure):
    _fields_ = (
        ("gate", c_void_p),
        ("bias", c_void_p),
        ("experts", c_int64),
        ("hidden", c_int64),
        ("per_token", c_int64),
        ("groups", c_int64),
        ("groups_kept", c_int64),
        ("normalize", c_int32),
        ("scale", c_float),
    )


class Decode(ctypes.Structure):
    _fields_ = (
        ("requests", c_int64),
        ("heads", c_int64),
        ("table", c_void_p),
        ("table_stride", c_int64),
        ("lengths", c_void_p),
        ("scale", c_float),
    )


_P, _N = c_void_p, c_int64
FUNCTIONS = {
    "linear": (_P, _P, _N, _N, _P),
    "experts": (_P, _P, _N, _P, _N, _N, _N, _P, _P, _P),
    "rms_norm": (_P, _N, _N, _N, _P, c_float, _P),
    "add_rms_norm": (_P, _P, _N, _N, _P, c_float, _P, _P),
    "add": (_P, _P, _N, _N, _P),
    "xielu": (_P, _N, _N, _N, _P, _P, _P),
    "embedding": (_P, _N, _P, _N, _P),
    "turns": (_P, _N, _P, _N, c_float, _P),
    "mla_store": (_P, _N, _P, _N, _P, _N, _N, _N, _N, _N, _P, c_float, _P, c_int, _P, _P, _P),
    "gqa_store": (_P, _N, _P, _N, _P, _N, _N, _N, _N, _N, _P, _P, c_float, _P, c_int, _P, _P, _P),
    "mla_decode": (_P, _P, _P, _N, _P, _P, _N, _N, _N, _P),
    "gqa_decode": (_P, _P, _P, _N, _N, _P),
    "mla_prefill": (_P, _N, _N, _N, _P, _P, _N, _P, _P, _N, _N, _N, c_float, _P),
    "gqa_prefill": (_P, _N, _N, _N, _P, _P, _N, _N, c_float, _P),
    "route": (_P, _P, _N, _N, _P, _P),
}


class Functions(Protocol):
    """The functions above by name, called with addresses and sizes."""

    def __getattr__(self, name: str) -> Callable[..., None]: ...


class Library:
    """The library's functions. One caller at a time."""

    def __init__(self, path: Path) -> None:
        loaded = ctypes.CDLL(str(path))
        for name, types in FUNCTIONS.items():
            function = getattr(loaded, f"abruzzi_{name}")
            function.argtypes, function.restype = types, None
            setattr(self, name, function)
        loaded.abruzzi_instruction_set.argtypes, loaded.abruzzi_instruction_set.restype = (c_int,), c_char_p
        loaded.abruzzi_use.argtypes, loaded.abruzzi_use.restype = (c_char_p,), c_int
        loaded.abruzzi_function.argtypes, loaded.abruzzi_function.restype = (c_char_p,), c_int
        loaded.abruzzi_replay.argtypes, loaded.abruzzi_replay.restype = (c_void_p, c_int64), None
        loaded.abruzzi_threads.argtypes, loaded.abruzzi_threads.restype = (c_int,), None
        self._loaded = loaded
        self.threads = 1
        self.use(os.environ.get(VARIABLE) or self.instruction_sets()[0])

    def __getattr__(self, name: str) -> Callable[..., None]:
        """For the type checker: the functions above are set one by one."""
        raise AttributeError(name)

    def instruction_sets(self) -> list[str]:
        """Those that this machine can use, the best first."""
        names: list[str] = []
        while (name := self._loaded.abruzzi_instruction_set(len(names))) is not None:
            names.append(name.decode())
        return names

    def use(self, name: str) -> None:
        """Changes the instruction set. Raises ConfigError if this machine cannot use it."""
        if self._loaded.abruzzi_use(name.encode()):
            raise ConfigError(f"{VARIABLE} {name}: this machine can use {', '.join(self.instruction_sets())}")
        self.instruction_set = name

    def number(self, name: str) -> int:
        """By which a recorded call names its function."""
        return int(self._loaded.abruzzi_function(name.encode()))

    def replay(self, words: Array[c_uint64]) -> None:
        """Makes recorded calls again (recorder.py)."""
        self._loaded.abruzzi_replay(words, len(words))

    def set_threads(self, threads: int) -> None:
        """How many threads compute, the caller's included."""
        self._loaded.abruzzi_threads(threads)
        self.threads = threads


def find_library() -> Path | None:
    """Where the library is, None if it was not built."""
    for suffix in EXTENSION_SUFFIXES:
        path = Path(__file__).with_name("_native" + suffix)
        if path.exists():
            return path
    return None
