"""ForwardBatch building: every token's place in the cache, and the decode groups."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.messages import SamplingParams
from engine.runner.inputs import InputBuilder
from engine.scheduling.plan import NewRow, PlannedRequest, StepPlan

CPU = torch.device("cpu")
SIZE, MAX_BLOCKS, ROWS = 4, 16, 6
WORKSPACE = 40

requests = st.lists(
    st.tuples(st.integers(0, 40), st.integers(1, 20), st.booleans()), min_size=1, max_size=ROWS
)  # start, count, sample


def plan_of(shapes: list[tuple[int, int, bool]]) -> StepPlan:
    planned = []
    for row, (start, count, sample) in enumerate(shapes):
        blocks = [row * MAX_BLOCKS + (index * 7) % MAX_BLOCKS for index in range(-(-(start + count) // SIZE))]
        planned.append(PlannedRequest(row, start, [100 * row + i for i in range(count)], blocks, sample))
    rows = [NewRow(row, SamplingParams(max_tokens=1), (0,), 1) for row in range(len(shapes))]
    return StepPlan(planned, rows, [], sum(count for _, count, _ in shapes))


@settings(deadline=None)
@given(shapes=requests)
def test_every_token_has_its_place(shapes: list[tuple[int, int, bool]]) -> None:
    plan = plan_of(shapes)
    batch = InputBuilder(ROWS, MAX_BLOCKS, SIZE, CPU, WORKSPACE).build(plan)
    expected = []  # token id, position, slot
    for planned in plan.requests:
        for offset, token in enumerate(planned.token_ids):
            position = planned.start + offset
            expected.append((token, position, planned.block_ids[position // SIZE] * SIZE + position % SIZE))
    actual = zip(batch.token_ids_T.tolist(), batch.positions_T.tolist(), batch.slots_T.tolist(), strict=True)
    assert list(actual) == expected
    last = [sum(count for _, count, _ in shapes[: i + 1]) - 1 for i, shape in enumerate(shapes) if shape[2]]
    assert batch.logit_tokens_N.tolist() == last


@settings(deadline=None)
@given(shapes=requests)
def test_groups_and_chunks_cover_each_request_once_within_the_workspace(shapes: list[tuple[int, int, bool]]) -> None:
    plan = plan_of(shapes)
    batch = InputBuilder(ROWS, MAX_BLOCKS, SIZE, CPU, WORKSPACE).build(plan)
    seen = []
    for group in batch.decode:
        contexts = group.context_lens_R.tolist()
        assert len(contexts) * max(contexts) <= WORKSPACE or len(contexts) == 1
        assert group.tokens_R is not None or len(contexts) == len(batch.token_ids_T)
        tokens = range(len(contexts)) if group.tokens_R is None else group.tokens_R.tolist()
        for token, blocks, context in zip(tokens, group.block_table_RB, contexts, strict=True):
            planned = plan.requests[int(batch.token_ids_T[token]) // 100]
            assert context == planned.start + 1
            needed = len(planned.block_ids)
            assert blocks[:needed].tolist() == planned.block_ids
            seen.append(planned.row)
    for chunk in batch.prefill:
        planned = plan.requests[int(batch.token_ids_T[chunk.first]) // 100]
        assert (chunk.start, chunk.count) == (planned.start, len(planned.token_ids))
        assert chunk.blocks_B.tolist() == planned.block_ids
        seen.append(planned.row)
    assert sorted(seen) == list(range(len(shapes)))


def test_a_row_keeps_its_table_and_forgets_it_when_freed() -> None:
    builder = InputBuilder(2, MAX_BLOCKS, SIZE, CPU)
    first = PlannedRequest(0, 3, [1], [9], True)
    builder.build(StepPlan([first], [], [], 1))
    grown = PlannedRequest(0, 4, [1], [9, 5], True)
    assert builder.build(StepPlan([grown], [], [], 1)).decode[0].block_table_RB.tolist() == [[9, 5]]
    builder.free_row(0)
    other = PlannedRequest(0, 5, [1], [2, 7], True)
    assert builder.build(StepPlan([other], [], [], 1)).decode[0].block_table_RB.tolist() == [[2, 7]]
