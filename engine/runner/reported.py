"""Reported: the log-probabilities of drawn tokens, for those who want to see them.

W rows that want them, K most likely tokens, V vocabulary.
"""

from collections.abc import Iterator

from torch import Tensor

from engine.messages import TokenLogprobs
from engine.runner.host_copy import HostCopy


class Reported:
    """Log-probabilities that W rows want, on their way to the host. `counts`: by index of the row, how many of the most
    likely tokens."""

    def __init__(self, logprobs_WV: Tensor, tokens_W: Tensor, counts: dict[int, int]) -> None:
        self._counts = counts
        self._chosen = HostCopy(logprobs_WV.gather(1, tokens_W.clamp(min=0)[:, None])[:, 0])
        values_WK, ids_WK = logprobs_WV.topk(max(counts.values()), dim=-1)
        self._values, self._ids = HostCopy(values_WK), HostCopy(ids_WK)

    def read(self) -> Iterator[tuple[int, TokenLogprobs]]:
        """Waits for them."""
        copies = (self._chosen.tolist(), self._ids.tolist(), self._values.tolist())
        for (index, count), chosen, ids, values in zip(self._counts.items(), *copies, strict=True):
            yield index, TokenLogprobs(chosen, list(zip(ids[:count], values[:count], strict=True)))
