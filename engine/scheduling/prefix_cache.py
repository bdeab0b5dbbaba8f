"""PrefixCache: finds the blocks that already hold the beginning of a request's tokens.

The hash of a block covers its tokens and, through its parent's hash, everything before it:

    tokens   [ block 0 ][ block 1 ][ block 2 ][ tail ]
    hashes    h0 = H(root, t0)  h1 = H(h0, t1)  h2 = H(h1, t2)      root = H(salt)

so equal hashes mean equal prefixes, and different salts never meet. BLAKE2b, 16 bytes: nobody can make a prompt that
collides with somebody else's.
"""

from array import array
from collections.abc import Sequence
from hashlib import blake2b

from engine.scheduling.block_pool import BlockPool


def root_hash(salt: str) -> bytes:
    """The parent of first blocks; one for each salt."""
    return blake2b(salt.encode(), digest_size=16, person=b"abruzzi-prefix").digest()


def extend_hashes(hashes: list[bytes], root: bytes, token_ids: Sequence[int], block_size: int) -> None:
    """Appends to `hashes` those of the full blocks of `token_ids` that it does not cover yet."""
    parent = hashes[-1] if hashes else root
    for start in range(len(hashes) * block_size, len(token_ids) - block_size + 1, block_size):
        tokens = array("I", token_ids[start : start + block_size]).tobytes()
        parent = blake2b(tokens, digest_size=16, key=parent).digest()
        hashes.append(parent)


class PrefixCache:
    """Look-up over the pool's published blocks, and a note of the blocks that a running request is about to publish,
    so that others which begin alike can wait for them instead of computing them again."""

    def __init__(self, pool: BlockPool) -> None:
        self._pool = pool
        self._computing: dict[bytes, int] = {}  # hash -> row of the request that computes it

    def match(self, hashes: Sequence[bytes]) -> list[int]:
        """The blocks of the longest cached prefix. Nothing is held yet."""
        blocks: list[int] = []
        for block_hash in hashes:
            block = self._pool.find(block_hash)
            if block is None:
                break
            blocks.append(block)
        return blocks

    def being_computed(self, hashes: Sequence[bytes]) -> bytes | None:
        """The last of the leading hashes that running requests are about to publish, None if not even the first is."""
        last = None
        for block_hash in hashes:
            if block_hash not in self._computing:
                break
            last = block_hash
        return last

    def announce(self, hashes: Sequence[bytes], row: int) -> None:
        """The request in `row` is going to compute and publish these."""
        for block_hash in hashes:
            self._computing.setdefault(block_hash, row)

    def withdraw(self, hashes: Sequence[bytes], row: int) -> list[bytes]:
        """The request in `row` has published these, or never will. Returns those that it had announced."""
        withdrawn = [block_hash for block_hash in hashes if self._computing.get(block_hash) == row]
        for block_hash in withdrawn:
            del self._computing[block_hash]
        return withdrawn
