"""BlockPool: who uses which KV block. Owns the accounting and the eviction order; knows no requests and no tensors.

Every block is in exactly one state, so that free + held + cached = total:

    free ──allocate──▶ held ──release──▶ free      nothing worth keeping in it
                        │ ▲
                publish │ │ take
                        ▼ │
                  held + published ──release──▶ cached    found by its hash, evicted oldest first
"""

from collections import OrderedDict
from collections.abc import Iterable


class BlockPool:
    """`total` blocks with reference counts and an index from content hash to block.

    A block that is not published has one holder, the only one that writes to it. A published block is full and is
    never written again, so any number of requests may hold it.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._free = list(range(total - 1, -1, -1))
        self._references = [0] * total
        self._hashes: list[bytes | None] = [None] * total
        self._by_hash: dict[bytes, int] = {}
        self._cached: OrderedDict[int, None] = OrderedDict()  # oldest first

    @property
    def free(self) -> int:
        return len(self._free)

    @property
    def cached(self) -> int:
        return len(self._cached)

    @property
    def held(self) -> int:
        return self.total - len(self._free) - len(self._cached)

    @property
    def available(self) -> int:
        """Blocks that `allocate` can hand out: the free ones and, by eviction, the cached ones."""
        return len(self._free) + len(self._cached)

    def allocate(self, count: int) -> list[int]:
        """Hands out `count` blocks, each held once. The caller has checked `available`."""
        assert count <= self.available, (count, self.available)
        blocks = [self._free.pop() if self._free else self._evict() for _ in range(count)]
        for block in blocks:
            self._references[block] = 1
        return blocks

    def find(self, block_hash: bytes) -> int | None:
        """The block published under `block_hash`, if it still is in the pool."""
        return self._by_hash.get(block_hash)

    def unused(self, blocks: Iterable[int]) -> int:
        """How many of `blocks` nobody holds: taking those makes that many fewer available."""
        return sum(1 for block in blocks if not self._references[block])

    def take(self, block: int) -> None:
        """One more holder for a published block."""
        assert self._hashes[block] is not None, block
        if not self._references[block]:
            del self._cached[block]
        self._references[block] += 1

    def publish(self, block: int, block_hash: bytes) -> None:
        """Makes a full block findable. If another block already has that content, it stays the one that is found."""
        assert self._references[block] == 1, block
        assert self._hashes[block] is None, block
        if block_hash not in self._by_hash:
            self._hashes[block] = block_hash
            self._by_hash[block_hash] = block

    def forget(self, blocks: Iterable[int]) -> None:
        """What these blocks hold is wrong: nobody shall find them any more."""
        for block in blocks:
            block_hash = self._hashes[block]
            if block_hash is not None:
                del self._by_hash[block_hash]
                self._hashes[block] = None

    def release(self, blocks: Iterable[int]) -> None:
        """One holder fewer for each. Give a request's blocks last first: evicting a tail keeps its prefix useful."""
        for block in blocks:
            self._references[block] -= 1
            assert self._references[block] >= 0, block
            if self._references[block]:
                continue
            if self._hashes[block] is None:
                self._free.append(block)
            else:
                self._cached[block] = None

    def _evict(self) -> int:
        block, _ = self._cached.popitem(last=False)
        block_hash = self._hashes[block]
        assert block_hash is not None
        del self._by_hash[block_hash]
        self._hashes[block] = None
        return block
