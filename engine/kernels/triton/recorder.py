"""CudaRecorder: what a GPU does in a step, recorded as a CUDA graph. Hundreds of launches become one."""

from collections.abc import Callable

import torch
from torch import Tensor


class CudaRecorder:
    """All graphs in one pool of memory: only one is replayed at a time."""

    ahead = True  # recording takes a while, and its memory must be found at start or not at all

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def record(self, run: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """See Recorder. Runs once beforehand, so that kernels are compiled and libraries have what they need."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            run()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            out = run()
        return graph.replay, out
