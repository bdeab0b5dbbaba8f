"""HostCopy: a tensor on its way from the device. What the device is given afterwards does not delay it."""

from typing import Any

import torch
from torch import Tensor


class HostCopy:
    """Begins the copy at once; `tolist` waits for it, not for later work."""

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
