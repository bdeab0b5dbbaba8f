"""Log-probabilities of prompts with a real model: those of transformers, in chunks, beside others, after preemption."""

from pathlib import Path

import pytest
import torch

from engine.client import _merge
from engine.config import EngineConfig
from engine.core import EngineCore
from engine.load import Loaded, load
from engine.messages import GenerateRequest, SamplingParams, StepOutput, TokenLogprobs
from engine.runner.prompt_scorer import PromptScorer
from engine.scheduling.plan import StepPlan
from engine.scheduling.scheduler import Scheduler, SchedulerConfig
from tests.support.deepseek_checkpoints import oracle_logits, random_tokens, write_checkpoint

PROMPT = random_tokens(90)
TOP = 5


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.Tensor]:
    """A checkpoint in fp32, and transformers' log-probabilities [T, V] behind each token of PROMPT."""
    folder = tmp_path_factory.mktemp("oracle")
    model = write_checkpoint(folder)
    return folder, torch.log_softmax(oracle_logits(model, PROMPT), dim=-1)


@pytest.fixture(scope="module")
def loaded(oracle: tuple[Path, torch.Tensor]) -> Loaded:
    config = EngineConfig(
        model_path=str(oracle[0]),
        dtype="float32",
        max_model_len=200,
        max_running=4,
        block_size=4,
        kv_cache_memory=4 << 20,
        threads=1,
    )
    return load(config, lambda message: None)


def make_core(loaded: Loaded, **changes: object) -> EngineCore:
    values = {"blocks": 200, "block_size": 4, "max_running": 4, "max_batch_tokens": 256, "max_model_len": 200}
    values["vocab_size"] = loaded.model_config.vocab_size
    return EngineCore(Scheduler(SchedulerConfig(**values | changes)), loaded.new_runner(), loaded.new_compiler())  # type: ignore[arg-type]


def run(core: EngineCore, *requests: GenerateRequest) -> dict[str, StepOutput]:
    """Each request's outputs as one."""
    for request in requests:
        core.add(request)
    outputs: dict[str, list[StepOutput]] = {request.id: [] for request in requests}
    while core.has_work:
        for output in core.step().outputs:
            assert output.error is None
            outputs[output.id].append(output)
    assert core.scheduler.pool.held == 0
    return {name: _merge(some) for name, some in outputs.items()}


def scored(name: str = "r", arrival: float = 0.0, **sampling: float) -> GenerateRequest:
    params = SamplingParams(**{"max_tokens": 3, "temperature": 0.0, "prompt_logprobs": TOP} | sampling)  # type: ignore[arg-type]
    return GenerateRequest(name, PROMPT, params, arrival)


def check(found: list[TokenLogprobs] | None, expected_TV: torch.Tensor) -> None:
    """The same numbers, and the same most likely tokens up to ties."""
    assert found is not None
    assert len(found) == len(PROMPT) - 1
    for place, one in enumerate(found):
        expected_V = expected_TV[place]
        assert one.logprob == pytest.approx(expected_V[PROMPT[place + 1]].item(), abs=1e-4)
        assert [value for _, value in one.top] == pytest.approx(expected_V.topk(TOP).values.tolist(), abs=1e-4)
        for token, value in one.top:
            assert value == pytest.approx(expected_V[token].item(), abs=1e-4)


@pytest.mark.parametrize("budget", [2, 7, 16, 256])
def test_they_are_those_of_transformers(loaded: Loaded, oracle: tuple[Path, torch.Tensor], budget: int) -> None:
    output = run(make_core(loaded, max_batch_tokens=budget), scored())["r"]
    check(output.prompt_logprobs, oracle[1])
    plain = run(make_core(loaded, max_batch_tokens=budget), scored(prompt_logprobs=None))["r"]  # type: ignore[arg-type]
    assert output.token_ids == plain.token_ids
    assert plain.prompt_logprobs is None


def test_beside_others_with_what_they_cached_and_after_preemption(
    loaded: Loaded, oracle: tuple[Path, torch.Tensor]
) -> None:
    core = make_core(loaded, blocks=40, max_batch_tokens=6)
    others = [
        GenerateRequest(f"o{i}", PROMPT[: 20 + i], SamplingParams(max_tokens=60, seed=i), float(i)) for i in range(2)
    ]
    outputs = run(core, *others, scored("first", 5.0), scored("second", 6.0))
    assert core.scheduler.stats(StepPlan([], [], [], 0), 0.0).preemptions > 0
    for name in ("first", "second"):
        check(outputs[name].prompt_logprobs, oracle[1])


def test_the_chosen_token_is_among_the_most_likely_with_the_very_same_number(loaded: Loaded) -> None:
    """Evaluation programs compare the two to see whether a text is what the model would say."""
    answer = run(make_core(loaded), scored(max_tokens=20))["r"].token_ids
    whole = GenerateRequest("r", PROMPT + answer, scored().sampling, 0.0)
    for one in (run(make_core(loaded), whole)["r"].prompt_logprobs or [])[-len(answer) :]:
        assert one.logprob == max(value for _, value in one.top)


def test_logits_are_made_a_few_rows_at_a_time(loaded: Loaded) -> None:
    """The memory plan has room for as many rows as there are running requests."""
    runner, sizes = loaded.new_runner(), []

    def logits(hidden_ND: torch.Tensor) -> torch.Tensor:
        sizes.append(len(hidden_ND))
        return loaded.model.logits(hidden_ND)

    runner._scorer = PromptScorer(logits, 4)
    core = make_core(loaded)
    core._runner = runner
    run(core, scored())
    assert sum(sizes) == len(PROMPT) - 1
    assert max(sizes) == 4


def test_a_request_for_nothing_but_its_prompt(loaded: Loaded, oracle: tuple[Path, torch.Tensor]) -> None:
    output = run(make_core(loaded), scored(max_tokens=0))["r"]
    assert (output.token_ids, output.finish_reason) == ([], "length")
    check(output.prompt_logprobs, oracle[1])


def test_a_model_that_gives_no_numbers_fails_the_request_alone(loaded: Loaded) -> None:
    embedding = loaded.model.get_parameter("embedding").data
    kept = embedding[PROMPT[50]].clone()
    core, errors = make_core(loaded, max_batch_tokens=16), {}
    embedding[PROMPT[50]] = float("nan")
    try:
        core.add(scored("bad"))
        core.add(GenerateRequest("good", PROMPT[:20], SamplingParams(max_tokens=5), 1.0))
        while core.has_work:
            errors |= {output.id: output.error for output in core.step().outputs if output.error}
    finally:
        embedding[PROMPT[50]] = kept
    assert list(errors) == ["bad"]
