"""KVStore: the memory of the KV cache. Which block belongs to whom is the scheduler's affair.

Shapes: B blocks, P block size, C cached values per token.
"""

import torch
from torch import Tensor

from engine.models.config import ModelConfig


class KVStore:
    """The cached tokens of all layers, in blocks.

    One tensor per group of layers that share block tables (`ModelConfig.kv_groups`); a model whose layers do not all
    share them has several groups. Today each group has the same number of blocks.
    """

    def __init__(
        self, config: ModelConfig, blocks: int, block_size: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.blocks = blocks
        self.block_size = block_size
        self.bytes = 0
        self._layers: dict[int, Tensor] = {}
        for group in config.kv_groups:
            # Zeros, not garbage: padded attention multiplies what it must not see by 0, and 0 * nan is nan.
            store = torch.zeros(len(group.layers), blocks, block_size, group.width, dtype=dtype, device=device)
            self.bytes += store.nbytes
            self._layers.update(zip(group.layers, store.unbind(0), strict=True))

    def layer(self, index: int) -> Tensor:
        """The cache of one layer [B, P, C], a view: the model writes to it."""
        return self._layers[index]
