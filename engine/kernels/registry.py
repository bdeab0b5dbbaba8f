"""Which backend computes: chosen by name or by what is usable, never replaced in silence."""

from collections.abc import Callable

from engine.errors import ConfigError
from engine.kernels.backend import TORCH, Kernels

# A backend's maker, called with the device's type; raises ConfigError with the reason if it cannot be used there.
Maker = Callable[[str], Kernels]


def _torch(device: str) -> Kernels:
    return TORCH


def _triton(device: str) -> Kernels:
    if device != "cuda":
        raise ConfigError(f"--kernels triton: needs an NVIDIA GPU, and the device is {device}; use --kernels auto")
    try:
        from engine.kernels.triton.backend import TritonKernels
    except ImportError as error:
        raise ConfigError(
            f"--kernels triton: Triton cannot be imported ({error}); install it (pip install 'triton>=3.6'), or use "
            "--kernels torch"
        ) from None
    return TritonKernels()


# In the order in which `auto` tries them.
BACKENDS: dict[str, Maker] = {"triton": _triton, "torch": _torch}
# Those that read and write a KV cache in fp8.
FP8_CACHE = ("triton", "torch")


def choose_kernels(name: str, device: str) -> Kernels:
    """The backend of that name for a device's type, or with `auto` the first that is usable. Raises ConfigError."""
    if name == "auto":
        tried = (_tried(maker, device)[0] for maker in BACKENDS.values())
        return next(kernels for kernels in tried if kernels is not None)
    if name not in BACKENDS:
        raise ConfigError(f"--kernels {name}: only auto, {', '.join(BACKENDS)} are known")
    return BACKENDS[name](device)


def why_unusable(name: str, device: str) -> str | None:
    """Why a backend cannot be used on a device's type; None if it can."""
    return _tried(BACKENDS[name], device)[1]


def _tried(maker: Maker, device: str) -> tuple[Kernels | None, str | None]:
    try:
        return maker(device), None
    except ConfigError as reason:
        return None, str(reason)
