"""BlockPool under random operations, against a model of who holds what."""

from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, precondition, rule

from engine.scheduling.block_pool import BlockPool

TOTAL = 12


class PoolMachine(RuleBasedStateMachine):
    """Holders are lists of blocks; published blocks may be in several, others in one."""

    holders = Bundle("holders")

    def __init__(self) -> None:
        super().__init__()
        self.pool = BlockPool(TOTAL)
        self.references: Counter[int] = Counter()
        self.published: dict[int, bytes] = {}

    @precondition(lambda self: self.pool.available > 0)
    @rule(target=holders, data=st.data())
    def allocate(self, data: st.DataObject) -> list[int]:
        count = data.draw(st.integers(1, self.pool.available))
        blocks = self.pool.allocate(count)
        assert len(set(blocks)) == count
        for block in blocks:
            assert self.references[block] == 0, "handed out while held"
            self.published.pop(block, None)
            self.references[block] = 1
        return blocks

    @rule(holder=holders, index=st.integers(0, TOTAL), name=st.binary(min_size=1, max_size=1))
    def publish(self, holder: list[int], index: int, name: bytes) -> None:
        block = holder[index % len(holder)]
        if block in self.published or self.references[block] != 1:
            return
        known = self.pool.find(name)
        self.pool.publish(block, name)
        if known is None:
            self.published[block] = name
        assert self.pool.find(name) == (block if known is None else known)

    @rule(target=holders, name=st.binary(min_size=1, max_size=1))
    def take(self, name: bytes) -> object:
        block = self.pool.find(name)
        assert (block is not None) == (name in self.published.values())
        if block is None:
            return multiple()
        self.pool.take(block)
        self.references[block] += 1
        return [block]

    @rule(holder=consumes(holders))
    def release(self, holder: list[int]) -> None:
        self.pool.release(reversed(holder))
        self.references.subtract(holder)

    @invariant()
    def blocks_sum_to_the_total(self) -> None:
        held = sum(1 for count in self.references.values() if count)
        assert self.pool.held == held
        assert self.pool.free + self.pool.held + self.pool.cached == TOTAL
        assert self.pool.cached == sum(1 for block in self.published if not self.references[block])


TestPool = PoolMachine.TestCase


def test_eviction_takes_the_longest_unused_first() -> None:
    pool = BlockPool(3)
    blocks = pool.allocate(3)
    for block in blocks:
        pool.publish(block, bytes([block]))
    pool.release([blocks[1]])
    pool.release([blocks[0]])
    assert pool.allocate(1) == [blocks[1]]
    assert pool.find(bytes([blocks[1]])) is None
    assert pool.find(bytes([blocks[0]])) == blocks[0]
