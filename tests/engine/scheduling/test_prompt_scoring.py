"""Log-probabilities of prompts under random traffic: each once, in order, before the answer, whatever happens to the
request meanwhile. The make-believe model's log-probability of a token is a function of all tokens before it."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.messages import GenerateRequest, SamplingParams, StepOutput, TokenLogprobs
from engine.scheduling.plan import StepPlan, StepResult
from engine.scheduling.scheduler import Scheduler, SchedulerConfig
from tests.engine.scheduling.test_scheduler import STOP, VOCABULARY, PlanChecker, config, expected_output, next_token


def score(before: list[int]) -> float:
    """What the model says of the token behind these."""
    return -float(next_token([*before, 1]))


class ScoringChecker(PlanChecker):
    """A PlanChecker that answers `scoring` too, if what it asks for is right."""

    def run(self, plan: StepPlan) -> StepResult:
        result = super().run(plan)
        for planned in plan.requests:
            if planned.scoring is None:
                continue
            known, scoring = self.known[planned.row], planned.scoring
            assert scoring.targets
            assert scoring.first >= 0
            assert scoring.first + len(scoring.targets) <= len(planned.token_ids)
            first = planned.start + scoring.first
            assert list(scoring.targets) == known[first + 1 : first + 1 + len(scoring.targets)]
            places = range(first, first + len(scoring.targets))
            top = [(scoring.top, -0.5)] * scoring.top
            result.prompt_logprobs[planned.row] = [TokenLogprobs(score(known[: p + 1]), top) for p in places]
        return result


arrivals = st.lists(
    st.tuples(
        st.integers(0, 20),  # arrives at step
        st.integers(0, 12),  # how much of the shared prefix
        st.integers(1, 30),  # own prompt tokens
        st.integers(0, 25),  # max_tokens
        st.one_of(st.none(), st.integers(0, 3)),  # prompt_logprobs
        st.integers(-1, 1),  # priority
    ),
    min_size=1,
    max_size=10,
)
configs = st.builds(
    SchedulerConfig,
    blocks=st.integers(18, 40),
    block_size=st.integers(1, 5),
    max_running=st.integers(1, 6),
    max_batch_tokens=st.integers(2, 40),
    max_model_len=st.just(80),
    vocab_size=st.just(VOCABULARY),
    prefix_caching=st.booleans(),
)


@settings(max_examples=150, deadline=None)
@given(config=configs, arrivals=arrivals, forced=st.sampled_from([0, 3]))
def test_each_log_probability_comes_once_and_in_order(config: SchedulerConfig, arrivals: list, forced: int) -> None:
    scheduler, device = Scheduler(config), ScoringChecker(config, forced)
    todo, outputs, requests = [], {}, {}
    for index, (step, shared, own, max_tokens, wanted, priority) in enumerate(arrivals):
        prompt = [i % VOCABULARY for i in range(shared)]
        prompt += [random.Random(index * 100 + i).randrange(VOCABULARY) for i in range(own)]
        sampling = SamplingParams(max_tokens=max_tokens, stop_token_ids=(STOP,), prompt_logprobs=wanted)
        request = GenerateRequest(f"r{index}", prompt, sampling, float(step), priority)
        if len(prompt) + max_tokens <= config.blocks * config.block_size:
            todo.append((step, request))
            requests[request.id], outputs[request.id] = request, []
    step = 0
    while todo or scheduler.has_work:
        assert step < 5000, "requests wait for ever"
        for entry in [entry for entry in todo if entry[0] <= step]:
            todo.remove(entry)
            scheduler.add(entry[1])
        if scheduler.has_work:
            plan = scheduler.schedule(float(step))
            for output in scheduler.commit(plan, device.run(plan)):
                outputs[output.id].append(output)
        step += 1
    assert scheduler.pool.held == 0
    for name, request in requests.items():
        check(request, outputs[name], config)


def check(request: GenerateRequest, outputs: list[StepOutput], config: SchedulerConfig) -> None:
    wanted, scores = request.sampling.prompt_logprobs, []
    for output in outputs:
        scores += output.prompt_logprobs or []
        if output.token_ids or output.finish_reason:
            assert len(scores) == (0 if wanted is None else len(request.prompt) - 1)
    if wanted is not None:
        assert [one.logprob for one in scores] == [score(request.prompt[: p + 1]) for p in range(len(scores))]
        assert all(len(one.top) == wanted for one in scores)
    tokens = [token for output in outputs for token in output.token_ids]
    expected = expected_output(request, config.max_model_len) if request.sampling.max_tokens else []
    assert tokens == expected
    assert sum(output.finish_reason is not None for output in outputs) == 1
    assert [output.cached_tokens is None for output in outputs] == [False] + [True] * (len(outputs) - 1)


def scored(name: str, prompt: list[int], **sampling: int) -> GenerateRequest:
    return GenerateRequest(name, prompt, SamplingParams(**{"max_tokens": 2, "prompt_logprobs": 0} | sampling), 0.0)


def run(scheduler: Scheduler, device: ScoringChecker) -> list[tuple[StepPlan, list[StepOutput]]]:
    steps = []
    while scheduler.has_work:
        plan = scheduler.schedule(0.0)
        steps.append((plan, scheduler.commit(plan, device.run(plan))))
    return steps


def test_a_cached_prompt_is_computed_again_and_what_it_computes_is_cached() -> None:
    scheduler = Scheduler(config(max_batch_tokens=64))
    device, prompt = ScoringChecker(scheduler.config), list(range(40))
    computed, cached = [], []
    for name, wanted in [("plain", None), ("scored", 0), ("plain again", None)]:
        scheduler.add(scored(name, prompt, prompt_logprobs=wanted))  # type: ignore[arg-type]
        steps = run(scheduler, device)
        computed.append(sum(plan.total_tokens for plan, _ in steps))
        cached.append(steps[0][1][0].cached_tokens)
    assert cached == [0, 0, 36]
    assert computed == [41, 41, 5]


def test_after_a_preemption_only_what_is_missing_is_scored() -> None:
    """With a prefix cache, the request finds again what it had scored."""
    scheduler = Scheduler(config(blocks=14, max_batch_tokens=3, max_running=2))
    device = ScoringChecker(scheduler.config)
    scheduler.add(GenerateRequest("first", [1] * 8, SamplingParams(max_tokens=40), 0.0))
    request = GenerateRequest("second", list(range(36)), SamplingParams(max_tokens=2, prompt_logprobs=0), 1.0)
    scheduler.add(request)
    steps = run(scheduler, device)
    assert scheduler.stats(steps[-1][0], 0.0).preemptions > 0
    check(request, [output for _, outputs in steps for output in outputs if output.id == "second"], scheduler.config)
    targets = [len(planned.scoring.targets) for plan, _ in steps for planned in plan.requests if planned.scoring]
    assert sum(targets) == 35


@pytest.mark.parametrize("scores_fail_at", [0, 1, 2])
def test_logits_that_are_not_numbers_end_the_request_and_leave_nothing_to_find(scores_fail_at: int) -> None:
    scheduler = Scheduler(config())
    device, prompt = ScoringChecker(scheduler.config), list(range(40))
    scheduler.add(scored("bad", prompt))
    outputs: list[StepOutput] = []
    for step in range(10):
        plan = scheduler.schedule(0.0)
        result = device.run(plan)
        if step == scores_fail_at:
            result.prompt_logprobs = dict.fromkeys(result.prompt_logprobs)
        outputs += scheduler.commit(plan, result)
        if not scheduler.has_work:
            break
    assert [output.error is not None for output in outputs] == [False] * scores_fail_at + [True]
    assert outputs[-1].error is not None
    assert "NaN" in outputs[-1].error[1]
    assert not outputs[-1].prompt_logprobs
    assert (scheduler.pool.held, scheduler.pool.cached) == (0, 0)


def test_nothing_is_generated_where_max_tokens_is_zero() -> None:
    scheduler = Scheduler(config(max_model_len=40))
    scheduler.add(scored("whole context", list(range(40)), max_tokens=0))
    outputs = [output for _, outputs in run(scheduler, ScoringChecker(scheduler.config)) for output in outputs]
    assert [output.token_ids for output in outputs] == [[]] * len(outputs)
    assert outputs[-1].finish_reason == "length"
    assert sum(len(output.prompt_logprobs or ()) for output in outputs) == 39
