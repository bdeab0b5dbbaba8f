"""NativeRecorder: the library's calls of a step, written down and made again by one call.

A recorded call is a row of 64-bit words: the function's number, then its arguments, addresses and numbers alike.
Results lie in memory that all recordings share, since only one is replayed at a time.

    words   linear  &matrix  &x  1024  1  &out | rms_norm  &out  1024  ...

What torch itself would compute in a step could not be repeated so: it is found and refused while recording.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from ctypes import addressof, c_float, c_uint64, c_void_p
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from engine.kernels.cpu.library import FUNCTIONS, Functions, Library

# NativeKernels.redirected
Redirected = Callable[[Functions, Callable[[tuple[int, ...], torch.dtype], Tensor]], AbstractContextManager[None]]
CHUNK = 16 << 20  # bytes of memory that are allocated together
ALIGNMENT = 64


class NativeRecorder:
    """Records steps whose kernels call `library`, by having their calls and results go elsewhere meanwhile."""

    ahead = False

    def __init__(self, library: Library, redirected: Redirected) -> None:
        self._library, self._redirected = library, redirected
        self._memory, self._words = _Memory(), 0

    @property
    def bytes(self) -> int:
        """Of all results and calls, without the calls' structs."""
        return self._memory.bytes + 8 * self._words

    def record(self, run: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """See Recorder. Raises RuntimeError if torch computes anything in `run`."""
        self._memory.begin()
        tape = _Tape(self._library)
        with self._redirected(tape, self._memory.empty), _OnlyViews():  # type: ignore[no-untyped-call]
            out = run()
        words = (c_uint64 * len(tape.words))(*tape.words)
        self._words += len(words)
        held = tape.held  # what the words point at

        def replay() -> None:
            assert held is not None
            self._library.replay(words)

        return replay, out


class _Tape:
    """Functions that write down their calls, and make them."""

    def __init__(self, library: Library) -> None:
        self.words: list[int] = []
        self.held: list[Any] = []
        for name, types in FUNCTIONS.items():
            setattr(self, name, self._recorded(getattr(library, name), library.number(name), types))

    def __getattr__(self, name: str) -> Callable[..., None]:
        """For the type checker: the functions are set one by one."""
        raise AttributeError(name)

    def _recorded(self, function: Callable[..., None], number: int, types: tuple[Any, ...]) -> Callable[..., None]:
        def call(*arguments: Any) -> None:
            self.words.append(number)
            self.words += [self._word(value, kind) for value, kind in zip(arguments, types, strict=True)]
            function(*arguments)

        return call

    def _word(self, value: Any, kind: Any) -> int:
        if kind is c_float:
            return int.from_bytes(c_float(value), "little")
        if kind is c_void_p and not isinstance(value, int):
            if value is None:
                return 0
            self.held.append(value._obj)  # a struct by reference
            return addressof(value._obj)
        return int(value) & (1 << 64) - 1


class _Memory:
    """Memory handed out from its beginning for each recording. It grows and never moves."""

    def __init__(self) -> None:
        self._chunks: list[Tensor] = []
        self.begin()

    @property
    def bytes(self) -> int:
        return sum(len(chunk) for chunk in self._chunks)

    def begin(self) -> None:
        self._chunk = self._used = 0

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        size = dtype.itemsize
        for length in shape:
            size *= length
        while not (self._chunk < len(self._chunks) and self._used + size <= len(self._chunks[self._chunk])):
            if self._chunk < len(self._chunks):
                self._chunk, self._used = self._chunk + 1, 0
            if self._chunk == len(self._chunks):
                with torch.utils._python_dispatch._disable_current_modes():
                    self._chunks.append(torch.empty(max(CHUNK, size), dtype=torch.uint8))
        piece = self._chunks[self._chunk][self._used : self._used + size]
        self._used += -(-size // ALIGNMENT) * ALIGNMENT
        return piece.view(dtype).view(shape)


class _OnlyViews(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses whatever computes or allocates."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {one.untyped_storage().data_ptr() for one in _tensors(args)}
        made = list(_tensors(result if isinstance(result, (list, tuple)) else [result]))
        if func._schema.is_mutable or not made or any(one.untyped_storage().data_ptr() not in given for one in made):
            raise RuntimeError(f"a step that computes {func} cannot be recorded; use --record-steps off")
        return result


def _tensors(values: Any) -> Any:
    return (value for value in values if isinstance(value, Tensor))
