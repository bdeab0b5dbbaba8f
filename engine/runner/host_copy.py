"""Values on their way to the device and from it, without waiting for what the device has to do before."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def on_device(values: Sequence[Any], device: torch.device, dtype: torch.dtype = torch.int64) -> Tensor:
    """The values, from page-locked memory: a copy from other memory, and indexing with a list, waits for the device."""
    pinned = device.type == "cuda"
    return torch.tensor(values, dtype=dtype, pin_memory=pinned).to(device, non_blocking=True)


class HostCopy:
    """Begins the copy of a tensor from the device at once; `tolist` waits for it, not for later work. What the device
    is given afterwards does not delay it."""

    def __init__(self, source: Tensor) -> None:
        self._host, self._copied = source, None
        if source.is_cuda:
            self._host = torch.empty(source.shape, dtype=source.dtype, pin_memory=True)
            self._host.copy_(source, non_blocking=True)
            self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._copied.record()

    def tolist(self) -> list[Any]:
        """The values."""
        if self._copied is not None:
            self._copied.synchronize()
        values: list[Any] = self._host.tolist()
        return values
