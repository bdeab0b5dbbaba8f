"""Which backend computes: chosen by name or by what is usable, never replaced in silence."""

from collections.abc import Callable

import torch

from engine.errors import ConfigError
from engine.kernels.backend import TORCH, Kernels
from engine.kernels.cpu.kernels import make_native

# A backend's maker, called with the device's type and the model's dtype; raises ConfigError with the reason if it
# cannot be used there.
Maker = Callable[[str, torch.dtype], Kernels]


SHARED_MEMORY = 192 * 1024


def _torch(device: str, dtype: torch.dtype) -> Kernels:
    return TORCH


def _triton(device: str, dtype: torch.dtype) -> Kernels:
    if device != "cuda":
        raise ConfigError(f"--kernels triton: needs an NVIDIA GPU, and the device is {device}; use --kernels auto")
    if dtype != torch.bfloat16:  # tiles of float32 would not fit in shared memory
        raise ConfigError(f"--kernels triton: computes in bfloat16, not in {dtype}; use --dtype bfloat16")
    try:
        from engine.kernels.triton.backend import TritonKernels
    except ImportError as error:
        raise ConfigError(
            f"--kernels triton: Triton cannot be imported ({error}); install it (pip install 'triton>=3.6'), or use "
            "--kernels torch"
        ) from None
    _check_shared_memory()
    return TritonKernels()


def _check_shared_memory() -> None:
    """Raises ConfigError where a program may have less than the largest one needs (docs/gpu.md has the sizes)."""
    if not torch.cuda.is_available():
        return
    device = torch.cuda.get_device_properties(torch.cuda.current_device())
    there: int = getattr(device, "shared_memory_per_block_optin", SHARED_MEMORY)  # missing in torch's type hints
    if there < SHARED_MEMORY:
        raise ConfigError(
            f"--kernels triton: a program needs {SHARED_MEMORY:,} bytes of shared memory, as Hopper and data-centre "
            f"Blackwell have; {device.name} has {there:,}; use --kernels torch"
        )


BACKENDS: dict[str, Maker] = {"native": make_native, "triton": _triton, "torch": _torch}
# What `auto` tries on a device's type, in this order.
ORDER = {"cpu": ("native", "torch"), "cuda": ("triton", "torch")}
# Those that read and write a KV cache in fp8.
FP8_CACHE = ("triton", "torch")


def with_flashinfer(kernels: Kernels, *, fp8_cache: bool = False) -> Kernels:
    """These kernels with decode attention by FlashInfer. Raises ConfigError where that cannot be."""
    flag = "--attention-backend flashinfer"
    if kernels.name != "triton":
        raise ConfigError(f"{flag}: goes with the Triton kernels on an NVIDIA GPU, and not with {kernels.describe()}")
    if fp8_cache:
        raise ConfigError(f"{flag}: does not read this KV cache; leave out --kv-cache-dtype fp8")
    try:
        import flashinfer
    except ImportError as error:
        raise ConfigError(f"{flag}: it cannot be imported ({error}); pip install 'flashinfer-python>=0.7'") from None
    from engine.kernels.triton.flashinfer import FlashInferKernels

    return FlashInferKernels(flashinfer)


def choose_kernels(name: str, device: str, dtype: torch.dtype, *, fp8_cache: bool = False) -> Kernels:
    """The backend of that name for a device's type and a model's dtype, or with `auto` the first that is usable.
    With `fp8_cache` it must read a KV cache in fp8. Raises ConfigError."""
    if name == "auto":
        order = [backend for backend in ORDER[device] if backend in FP8_CACHE or not fp8_cache]
        tried = (_tried(BACKENDS[backend], device, dtype)[0] for backend in order)
        return next(kernels for kernels in tried if kernels is not None)
    if name not in BACKENDS:
        raise ConfigError(f"--kernels {name}: only auto, {', '.join(BACKENDS)} are known")
    if fp8_cache and name not in FP8_CACHE:
        others = " or ".join(backend for backend in ORDER[device] if backend in FP8_CACHE)
        raise ConfigError(f"--kv-cache-dtype fp8: the {name} kernels cannot read it; use --kernels {others}")
    return BACKENDS[name](device, dtype)


def why_unusable(name: str, device: str, dtype: torch.dtype) -> str | None:
    """Why a backend cannot be used on a device's type; None if it can."""
    return _tried(BACKENDS[name], device, dtype)[1]


def describe(kernels: Kernels, asked: str, device: str, dtype: torch.dtype) -> str:
    """What an operator should know of a choice: what computes, and why faster ones do not."""
    order = ORDER[device]
    faster = order[: order.index(kernels.name)] if asked == "auto" and kernels.name in order else ()
    cannot = "cannot read a KV cache in fp8"  # else they would have been taken
    reasons = [f"; {why_unusable(name, device, dtype) or f'the {name} kernels {cannot}'}" for name in faster]
    return f"kernels: {kernels.describe()}{''.join(reasons)}"


def _tried(maker: Maker, device: str, dtype: torch.dtype) -> tuple[Kernels | None, str | None]:
    try:
        return maker(device, dtype), None
    except ConfigError as reason:
        return None, str(reason)
