"""The scheduler's invariants under random traffic, with a runner that is a function of the tokens."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import RequestRefused
from engine.messages import GenerateRequest, SamplingParams, StepOutput
from engine.scheduling.plan import NO_TOKEN, Constrained, StepPlan, StepResult
from engine.scheduling.scheduler import Scheduler, SchedulerConfig

STOP = 3
VOCABULARY = 17


def next_token(token_ids: list[int]) -> int:
    """What the make-believe model answers: any function of all tokens does, as long as it is one."""
    value = 1
    for token in token_ids:
        value = (value * 31 + token + 1) % 1_000_003
    return value % VOCABULARY


def forced_count(token_ids: list[int], most: int) -> int:
    """How many tokens the make-believe model forces behind its next: often none, up to `most`."""
    draw = sum(token_ids) * 7919 % 10
    return most * (draw - 5) // 4 if draw > 5 else 0


def expected_output(request: GenerateRequest, max_model_len: int) -> list[int]:
    tokens = list(request.prompt)
    while True:
        tokens.append(next_token(tokens))
        output = len(tokens) - len(request.prompt)
        if tokens[-1] in request.sampling.stop_token_ids or output == request.sampling.max_tokens:
            return tokens[len(request.prompt) :]
        if len(tokens) == max_model_len:
            return tokens[len(request.prompt) :]


class PlanChecker:
    """Runs plans as a device would: keeps KV contents by block, and complains about any access that is not right.
    A step brings a request, or only one with a grammar, up to `forced` tokens more than one. The token of a request
    that the scheduler does not know yet is known here."""

    def __init__(self, config: SchedulerConfig, forced: int = 0, with_grammar: bool = False) -> None:
        self.config = config
        self.forced = forced
        self.free: set[int] = set()  # rows without a grammar, if that matters
        self.with_grammar = with_grammar
        self.kv: dict[tuple[int, int], tuple[int, ...]] = {}  # (block, offset) -> all tokens up to there
        self.known: dict[int, list[int]] = {}  # row -> tokens
        self.most: dict[int, int] = {}  # row -> tokens to compute at most: never the last of the answer

    def run(self, plan: StepPlan) -> StepResult:
        for row in plan.freed_rows:
            del self.known[row]
        for new in plan.new_rows:
            assert new.row not in self.known
            assert NO_TOKEN not in new.token_ids
            self.known[new.row] = list(new.token_ids)
            self.most[new.row] = new.prompt_length + max(0, new.sampling.max_tokens - 1)
            self.free.discard(new.row)
            if self.with_grammar and new.grammar is None:
                self.free.add(new.row)
        assert 0 < plan.total_tokens <= self.config.max_batch_tokens
        assert len({planned.row for planned in plan.requests}) == len(plan.requests)
        written: Counter[int] = Counter()
        result = StepResult([], [])
        size = self.config.block_size
        for planned in plan.requests:
            known, end = self.known[planned.row], planned.start + len(planned.token_ids)
            tokens = list(planned.token_ids)
            if tokens[-1] == NO_TOKEN:
                assert len(tokens) == 1
                tokens = known[planned.start : end]
            assert known[planned.start : end] == tokens
            assert planned.request is not None
            if planned.request.row == planned.row:  # it has not ended since the plan was made
                assert planned.sample == (end == len(known))
            assert end <= self.most[planned.row]
            for position in range(planned.start):
                place = planned.block_ids[position // size], position % size
                assert self.kv[place] == tuple(known[: position + 1]), "KV of other tokens"
            for position in range(planned.start, end):
                place = planned.block_ids[position // size], position % size
                self.kv[place] = tuple(known[: position + 1])
            written.update({planned.block_ids[position // size] for position in range(planned.start, end)})
            if planned.sample:
                count = 0 if planned.row in self.free else forced_count(known, self.forced)
                known.append(next_token(known))
                for _ in range(count):
                    known.append(next_token(known))
                come = known[len(known) - 1 - count :]
                if count:
                    stopped = STOP in come
                    come = come[: come.index(STOP) + 1] if stopped else come
                    result.constrained[len(result.token_ids)] = Constrained(come[1:], stopped=stopped)
                result.token_ids.append(come[0])
                result.logprobs.append(None)
        assert all(count == 1 for count in written.values()), "a block with two writers"
        return result


def make_request(name: str, prompt: list[int], **sampling: object) -> GenerateRequest:
    params = SamplingParams(**{"max_tokens": 8, "stop_token_ids": (STOP,)} | sampling)  # type: ignore[arg-type]
    return GenerateRequest(name, prompt, params, arrival=0.0)


traffic = st.lists(
    st.tuples(
        st.integers(0, 30),  # arrives at step
        st.integers(0, 3),  # which shared prefix
        st.integers(0, 12),  # how much of it
        st.integers(1, 30),  # own prompt tokens
        st.integers(1, 30),  # max_tokens
        st.integers(-2, 2),  # priority
        st.one_of(st.none(), st.integers(1, 20)),  # cancelled after so many steps
        st.sampled_from(["", "salt"]),
    ),
    min_size=1,
    max_size=14,
)
configs = st.builds(
    SchedulerConfig,
    blocks=st.integers(18, 40),
    block_size=st.integers(1, 5),
    max_running=st.integers(1, 6),
    max_batch_tokens=st.integers(2, 40),
    max_model_len=st.integers(20, 80),
    vocab_size=st.just(VOCABULARY),
    prefix_caching=st.booleans(),
)


@settings(max_examples=300, deadline=None)
@given(config=configs, arrivals=traffic, forced=st.sampled_from([0, 1, 3, 40]), ahead=st.booleans())
def test_every_admitted_request_ends_right_whatever_the_traffic(
    config: SchedulerConfig, arrivals: list, forced: int, ahead: bool
) -> None:
    """`ahead`: a plan is made and run before the one before it is committed, where that can be."""
    scheduler, device = Scheduler(config), PlanChecker(config, forced, with_grammar=True)
    following: tuple[StepPlan, StepResult] | None = None
    todo, outputs, cancelled = [], {}, set()
    for index, (step, prefix, shared, own, max_tokens, priority, cancel, salt) in enumerate(arrivals):
        prompt = [(prefix * 5 + i) % VOCABULARY for i in range(shared)]
        prompt += [random.Random(index * 100 + i).randrange(VOCABULARY) for i in range(own)]
        sampling = SamplingParams(max_tokens=max_tokens, stop_token_ids=(STOP,))
        request = GenerateRequest(f"r{index}", prompt, sampling, float(step), priority, salt)
        todo.append((step, cancel, request))
    admitted, step = {}, 0
    while todo or scheduler.has_work or following:
        assert step < 5000, "requests wait for ever"
        for entry in [entry for entry in todo if entry[0] <= step]:
            todo.remove(entry)
            try:
                scheduler.add(entry[2], grammar=object() if forced and int(entry[2].id[1:]) % 3 == 0 else None)
            except RequestRefused:
                continue
            admitted[entry[2].id] = (step, entry[1], entry[2])
            outputs[entry[2].id] = []
        for name, (since, cancel, _) in admitted.items():
            if cancel is not None and step == since + cancel and scheduler.cancel(name):
                cancelled.add(name)
        if following or scheduler.has_work:
            plan, result = following or planned_and_run(scheduler, device, float(step))
            following = None
            plan_after = scheduler.schedule(float(step)) if ahead and scheduler.foresee(plan) else None
            for output in scheduler.commit(plan, result):
                assert output.id not in cancelled
                outputs[output.id].append(output)
            if plan_after is not None and plan_after.requests:
                scheduler.settle(plan_after)
                following = (plan_after, device.run(plan_after))
        pool = scheduler.pool
        assert pool.free + pool.held + pool.cached == config.blocks
        step += 1
    assert scheduler.pool.held == 0
    for name, (_, _, request) in admitted.items():
        tokens = [token for output in outputs[name] for token in output.token_ids]
        expected = expected_output(request, config.max_model_len)
        if name in cancelled:
            assert tokens == expected[: len(tokens)]
            assert not any(output.finish_reason for output in outputs[name])
        else:
            assert tokens == expected
            reasons = [output.finish_reason for output in outputs[name] if output.finish_reason]
            assert reasons == ["stop" if tokens[-1] == STOP else "length"]
            assert outputs[name][0].cached_tokens is not None


def planned_and_run(scheduler: Scheduler, device: PlanChecker, now: float) -> tuple[StepPlan, StepResult]:
    plan = scheduler.schedule(now)
    return plan, device.run(plan)


def run_all(scheduler: Scheduler, device: PlanChecker | None = None) -> list[tuple[StepPlan, list[StepOutput]]]:
    device, steps = device or PlanChecker(scheduler.config), []
    while scheduler.has_work:
        plan = scheduler.schedule(0.0)
        steps.append((plan, scheduler.commit(plan, device.run(plan))))
        assert len(steps) < 1000
    return steps


def config(**changes: object) -> SchedulerConfig:
    values = {"blocks": 64, "block_size": 4, "max_running": 8, "max_batch_tokens": 16, "max_model_len": 200}
    values["vocab_size"] = 1000
    return SchedulerConfig(**values | changes)  # type: ignore[arg-type]


def test_decode_goes_on_while_a_long_prompt_is_computed() -> None:
    scheduler = Scheduler(config())
    scheduler.add(make_request("short", [1, 2], max_tokens=30, stop_token_ids=()))
    device = PlanChecker(scheduler.config)
    plan = scheduler.schedule(0.0)
    scheduler.commit(plan, device.run(plan))
    scheduler.add(make_request("long", list(range(100)), max_tokens=1))
    while scheduler.has_work:
        plan = scheduler.schedule(0.0)
        outputs = scheduler.commit(plan, device.run(plan))
        assert "short" in [output.id for output in outputs]
        assert plan.total_tokens == 16 or "long" in [output.id for output in outputs]
        if "long" in [output.id for output in outputs]:
            return
    pytest.fail("the long prompt never finished")


def test_prompts_get_their_share_beside_more_decoding_requests_than_the_budget_holds() -> None:
    scheduler = Scheduler(config(max_running=40, blocks=400))
    for index in range(30):
        scheduler.add(make_request(f"d{index:02}", [index], max_tokens=60, stop_token_ids=()))
    device, counts = PlanChecker(scheduler.config), Counter()
    for _ in range(4):
        plan = scheduler.schedule(0.0)
        scheduler.commit(plan, device.run(plan))
    scheduler.add(make_request("prompt", list(range(50)), max_tokens=1))
    for step in range(100):
        plan = scheduler.schedule(0.0)
        outputs = scheduler.commit(plan, device.run(plan))
        counts.update(output.id for output in outputs)
        if counts["prompt"]:
            assert step >= 10, "a quarter of 16 tokens a step: 50 tokens take 13 steps"
            assert max(counts[f"d{i:02}"] for i in range(30)) - min(counts[f"d{i:02}"] for i in range(30)) <= 2
            return
    pytest.fail("the prompt starved")


def test_a_short_prompt_is_not_stuck_behind_a_long_one() -> None:
    scheduler = Scheduler(config())
    scheduler.add(make_request("a long one", list(range(150)), max_tokens=1))
    scheduler.add(make_request("b short one", [5] * 6, max_tokens=1))
    first = next(index for index, (_, outputs) in enumerate(run_all(scheduler)) if outputs)
    assert first <= 1


def test_prefix_is_found_by_the_same_salt_only() -> None:
    scheduler = Scheduler(config())
    device, cached = PlanChecker(scheduler.config), {}
    for name, salt in [("first", "a"), ("same", "a"), ("other", "b")]:
        sampling = SamplingParams(max_tokens=2)
        scheduler.add(GenerateRequest(name, list(range(16)), sampling, 0.0, cache_salt=salt))
        for _, outputs in run_all(scheduler, device):
            cached |= {output.id: output.cached_tokens for output in outputs if output.cached_tokens is not None}
    assert cached == {"first": 0, "same": 12, "other": 0}  # of 16 the last token at least is computed: 3 blocks of 4


def test_requests_that_begin_alike_at_once_compute_the_prefix_once() -> None:
    scheduler = Scheduler(config(max_batch_tokens=64))
    for index in range(4):
        scheduler.add(make_request(f"r{index}", [*range(40), index], max_tokens=3))
    computed = sum(plan.total_tokens for plan, _ in run_all(scheduler))
    assert computed <= 41 + 3 * (1 + 0) + 4 * 3


def test_preempted_requests_return_and_the_first_is_never_preempted() -> None:
    scheduler = Scheduler(config(blocks=10, prefix_caching=False))
    for index in range(3):
        scheduler.add(make_request(f"r{index}", [index] * 8, max_tokens=20, stop_token_ids=()))
    steps = run_all(scheduler)
    ends = [output.id for _, outputs in steps for output in outputs if output.finish_reason]
    assert sorted(ends) == ["r0", "r1", "r2"]
    assert ends[0] == "r0"
    assert scheduler.stats(steps[-1][0], 0.0).preemptions > 0


def test_priority_goes_first_but_ages() -> None:
    scheduler = Scheduler(config(max_running=1))
    sampling = SamplingParams(max_tokens=1)
    scheduler.add(GenerateRequest("patient", [1], sampling, arrival=0.0, priority=1))
    scheduler.add(GenerateRequest("urgent", [1], sampling, arrival=5.0, priority=0))
    scheduler.add(GenerateRequest("late", [1], sampling, arrival=50.0, priority=0))
    order = [output.id for _, outputs in run_all(scheduler) for output in outputs]
    assert order == ["urgent", "patient", "late"]


@pytest.mark.parametrize(
    ("prompt", "max_tokens", "code"),
    [
        ([], 5, "invalid_prompt"),
        ([1, 1000], 5, "invalid_prompt"),
        ([-1, 2], 5, "invalid_prompt"),
        ([1] * 200, 5, "context_length_exceeded"),
        ([1] * 90, 20, "context_length_exceeded"),
    ],
)
def test_what_can_never_run_is_refused(prompt: list[int], max_tokens: int, code: str) -> None:
    scheduler = Scheduler(config(blocks=25))
    with pytest.raises(RequestRefused) as refused:
        scheduler.add(make_request("r", prompt, max_tokens=max_tokens))
    assert refused.value.code == code
    assert not scheduler.has_work


def test_a_failed_step_ends_its_requests_with_an_error_and_frees_their_blocks() -> None:
    scheduler = Scheduler(config())
    scheduler.add(make_request("r", [1, 2, 3]))
    plan = scheduler.schedule(0.0)
    (output,) = scheduler.fail(plan, "engine_error", "out of memory")
    assert output.error == ("engine_error", "out of memory")
    assert scheduler.pool.held == 0
    assert not scheduler.has_work


def one_step(
    scheduler: Scheduler, tokens: list[int], constrained: dict[int, Constrained] | None = None
) -> list[StepOutput]:
    plan = scheduler.schedule(0.0)
    return scheduler.commit(plan, StepResult(tokens, [None] * len(tokens), constrained or {}))


def test_forced_tokens_come_in_one_output_and_are_computed_in_one_step() -> None:
    scheduler = Scheduler(config())
    scheduler.add(make_request("r", [1, 2], max_tokens=20))
    (output,) = one_step(scheduler, [5], {0: Constrained([6, 7, 8, 9, 10])})
    assert output.token_ids == [5, 6, 7, 8, 9, 10]
    plan = scheduler.schedule(0.0)
    assert [(p.start, list(p.token_ids), p.sample) for p in plan.requests] == [(2, [5, 6, 7, 8, 9, 10], True)]
    assert scheduler.stats(plan, 0.0).forced_tokens == 5


@pytest.mark.parametrize(
    ("constrained", "tokens", "reason"),
    [
        (Constrained([6, STOP], stopped=True), [5, 6, STOP], "stop"),
        (Constrained([6, STOP]), [5, 6, STOP], None),
        (Constrained([6, 7, 8, 9, 10], done=True), [5, 6, 7, 8], "length"),
        (Constrained([6, 7, 8], done=True), [5, 6, 7, 8], "stop"),
        (Constrained([6], done=True), [5, 6], "stop"),
        (Constrained(done=True), [5], "stop"),
        (Constrained([6, 7]), [5, 6, 7], None),
    ],
)
def test_forced_tokens_end_a_request_where_sampled_ones_would(
    constrained: Constrained, tokens: list[int], reason: str | None
) -> None:
    scheduler = Scheduler(config())
    scheduler.add(make_request("r", [1, 2], max_tokens=4))
    (output,) = one_step(scheduler, [5], {0: constrained})
    assert (output.token_ids, output.finish_reason) == (tokens, reason)
    assert scheduler.has_work == (reason is None)


def test_a_grammar_ends_its_request_alone_without_a_token() -> None:
    scheduler = Scheduler(config())
    for name in ("done", "failed", "other"):
        scheduler.add(make_request(name, [1, 2]))
    constrained = {0: Constrained(done=True), 1: Constrained(error="too costly")}
    done, failed, other = one_step(scheduler, [NO_TOKEN, NO_TOKEN, 5], constrained)
    assert (done.token_ids, done.finish_reason, done.error) == ([], "stop", None)
    assert (failed.token_ids, failed.error) == ([], ("invalid_grammar", "too costly"))
    assert (other.token_ids, other.finish_reason) == ([5], None)


def test_requests_with_forced_tokens_leave_the_others_their_turn() -> None:
    scheduler = Scheduler(config())
    for index in range(4):
        scheduler.add(make_request(f"r{index}", [index], max_tokens=60, stop_token_ids=()))
    one_step(scheduler, [5] * 4, {0: Constrained([6] * 30)})
    plan = scheduler.schedule(0.0)
    assert [len(planned.token_ids) for planned in plan.requests] == [13, 1, 1, 1]
    assert [planned.sample for planned in plan.requests] == [False, True, True, True]


def test_many_that_wait_for_one_prefix_do_not_block_a_stranger() -> None:
    scheduler = Scheduler(config(blocks=600, max_model_len=2000, max_batch_tokens=32))
    scheduler.add(make_request("a first", list(range(900)), max_tokens=1))
    device = PlanChecker(scheduler.config)
    plan = scheduler.schedule(0.0)
    scheduler.commit(plan, device.run(plan))
    for index in range(100):
        scheduler.add(make_request(f"b{index}", [*range(900), index], max_tokens=1))
    scheduler.add(make_request("c stranger", [999, 998], max_tokens=1))
    plan = scheduler.schedule(0.0)
    assert "c stranger" in [output.id for output in scheduler.commit(plan, device.run(plan))]
    assert scheduler.stats(plan, 0.0).waiting == 100
    assert scheduler.cancel("b7")
    ends = [output.id for _, outputs in run_all(scheduler, device) for output in outputs]
    assert sorted(ends) == sorted(["a first", *(f"b{index}" for index in range(100) if index != 7)])


def test_who_waits_for_a_prefix_goes_on_when_its_maker_is_cancelled() -> None:
    scheduler = Scheduler(config(blocks=300))
    for name in ("a", "b"):
        scheduler.add(make_request(name, list(range(190)), max_tokens=1))
    device = PlanChecker(scheduler.config)
    plan = scheduler.schedule(0.0)
    scheduler.commit(plan, device.run(plan))
    assert scheduler.cancel("a")
    assert [output.id for _, outputs in run_all(scheduler, device) for output in outputs] == ["b"]


def test_cancelled_requests_do_not_pile_up_in_the_queue() -> None:
    scheduler = Scheduler(config())
    for index in range(1000):
        scheduler.add(make_request(f"r{index}", [1, 2, 3]))
        assert scheduler.cancel(f"r{index}")
    assert len(scheduler._waiting._heap) <= 65


@pytest.mark.parametrize("lengths", [(3, 3, 3), (3, 2, 3), (2, 3, 3), (1, 2, 3), (3, 3, 2)])
def test_the_turn_of_one_that_preempts_itself_goes_to_the_others(lengths: tuple[int, ...]) -> None:
    """With a share of one token, the only request whose turn it is may find no block and be the last in order."""
    scheduler = Scheduler(config(blocks=3, block_size=4, max_running=3, max_batch_tokens=2, prefix_caching=False))
    for index, length in enumerate(lengths):
        scheduler.add(make_request(f"r{index}", [index] * length, max_tokens=8, stop_token_ids=()))
    scheduler.add(make_request("waits for a row", [9], max_tokens=1, stop_token_ids=()))
    ends = [output.id for _, outputs in run_all(scheduler) for output in outputs if output.finish_reason]
    assert len(ends) == 4


@pytest.mark.parametrize("block_size", [1, 2, 16])
def test_a_foreseen_token_that_does_not_come_ends_its_request_alone(block_size: int) -> None:
    scheduler = Scheduler(config(block_size=block_size, blocks=64))
    for name in ("bad", "good"):
        scheduler.add(make_request(name, [len(name), 6, 7], max_tokens=4))
    plan = scheduler.schedule(0.0)
    assert scheduler.foresee(plan)
    following = scheduler.schedule(0.0)
    bad, good = scheduler.commit(plan, StepResult([NO_TOKEN, 5], [None, None]))
    assert (bad.id, bad.error is not None, good.token_ids) == ("bad", True, [5])
    assert [output.id for output in scheduler.commit(following, StepResult([1, 5], [None, None]))] == ["good"]


@pytest.mark.parametrize("blocks", [3, 8])
def test_forced_tokens_are_foreseen_only_with_blocks_for_all(blocks: int) -> None:
    """They may need more blocks than one, and so preempt a request whose token is not known."""
    scheduler = Scheduler(config(blocks=blocks, max_model_len=12))
    scheduler.add(make_request("r", [1, 2]))
    one_step(scheduler, [5], {0: Constrained([6, 7, 8, 9, 10])})
    plan = scheduler.schedule(0.0)
    assert scheduler.foresee(plan) == (blocks == 8)


def test_what_is_forced_behind_a_foreseen_token_goes_before_the_next_draw() -> None:
    scheduler = Scheduler(config())
    for name in "ab":
        scheduler.add(make_request(name, [1, 2]))
    one_step(scheduler, [5, 5])
    plan = scheduler.schedule(0.0)
    assert scheduler.foresee(plan)
    following = scheduler.schedule(0.0)
    assert [planned.sample for planned in following.requests] == [True, True]
    scheduler.commit(plan, StepResult([6, 6], [None, None], {0: Constrained([7, 8])}))
    scheduler.settle(following)
    assert [planned.sample for planned in following.requests] == [False, True]
    (output,) = scheduler.commit(following, StepResult([9], [None]))
    assert (output.id, output.token_ids) == ("b", [9])
    plan = scheduler.schedule(0.0)
    assert [list(planned.token_ids) for planned in plan.requests] == [[7, 8], [9]]


def test_a_grammar_that_is_done_takes_back_the_foreseen_token() -> None:
    scheduler = Scheduler(config())
    scheduler.add(make_request("r", [1, 2]))
    plan = scheduler.schedule(0.0)
    assert scheduler.foresee(plan)
    following = scheduler.schedule(0.0)
    (output,) = scheduler.commit(plan, StepResult([NO_TOKEN], [None], {0: Constrained(done=True)}))
    assert (output.token_ids, output.finish_reason) == ([], "stop")
    scheduler.settle(following)
    assert scheduler.commit(following, StepResult([4], [None])) == []
