"""CudaRecorder: what a GPU does in a step, recorded as a CUDA graph. Hundreds of launches become one."""

from collections.abc import Callable

import torch
from torch import Tensor


class CudaRecorder:
    """All graphs in one pool of memory, since only one is replayed at a time, and from one stream, for which the
    libraries have their workspaces once."""

    ahead = True  # recording takes a while, and its memory must be found at start or not at all

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream()

    def record(self, run: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """See Recorder. Runs once beforehand, so that kernels are compiled and libraries have what they need."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            run()
        torch.cuda.current_stream().wait_stream(self._stream)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
                out = run()
        except RuntimeError as error:  # the end of a recording that failed may fail, too
            if isinstance(error.__context__, torch.OutOfMemoryError):
                raise error.__context__ from None
            raise
        return graph.replay, out
