"""Reported: the log-probabilities of drawn tokens, for those who want to see them.

W rows that want them, K most likely tokens, V vocabulary.
"""

from collections.abc import Iterator

from torch import Tensor

from engine.messages import TokenLogprobs
from engine.runner.host_copy import HostCopy


class Reported:
    """Log-probabilities that rows `rows_W` want, on their way to the host. `counts`: by row, how many of the most
    likely tokens; `tokens_N`: what was drawn, of all rows."""

    def __init__(self, counts: dict[int, int], rows_W: Tensor, logprobs_WV: Tensor, tokens_N: Tensor) -> None:
        self._counts = counts
        tokens_W = tokens_N.index_select(0, rows_W)
        self._chosen = HostCopy(logprobs_WV.gather(1, tokens_W.clamp(min=0)[:, None])[:, 0])
        values_WK, ids_WK = logprobs_WV.topk(max(counts.values()), dim=-1)
        self._values, self._ids = HostCopy(values_WK), HostCopy(ids_WK)

    def read(self) -> Iterator[tuple[int, TokenLogprobs]]:
        """Waits for them."""
        copies = (self._chosen.tolist(), self._ids.tolist(), self._values.tolist())
        for (index, count), chosen, ids, values in zip(self._counts.items(), *copies, strict=True):
            yield index, TokenLogprobs(chosen, list(zip(ids[:count], values[:count], strict=True)))
