"""The training forward: it copies from the start, balances its experts, and is what the engine serves."""

import json
import time
from pathlib import Path

import pytest
import torch

from demo.tokenizer import END_OF_TURN, VOCAB_SIZE, write_tokenizer
from demo.training.batches import Encoded, inputs, make_batch
from demo.training.circuits import initialise, protect
from demo.training.export import write_folder
from demo.training.model import DemoModel, Mixture
from demo.training.muon import orthogonal
from demo.training.shape import SHAPE, Layout
from engine import EngineConfig
from engine.load import load
from engine.messages import GenerateRequest, SamplingParams

TEXTS = [bytes([value]) for value in range(256)] + [b"w%d" % number for number in range(VOCAB_SIZE - 256)]


@pytest.fixture(scope="module")
def model() -> DemoModel:
    torch.set_num_threads(1)
    made = DemoModel(SHAPE)
    initialise(made, TEXTS)
    return made.eval()


@torch.no_grad()
def test_an_untrained_model_repeats_what_it_has_seen(model: DemoModel) -> None:
    torch.manual_seed(0)
    half = torch.randint(256, 4096, (4, 60))
    tokens = torch.cat([half, half], 1)
    likeliest = model.logits(model(tokens)).argmax(-1)
    assert (likeliest[:, 62:-1] == tokens[:, 63:]).float().mean() > 0.99


@torch.no_grad()
@pytest.mark.parametrize("lengths", [(30, 20, 40), (200, 90, 150)])  # attended in one piece, and in blocks
def test_ways_on_from_one_opening_are_texts_of_their_own(model: DemoModel, lengths: tuple[int, ...]) -> None:
    torch.manual_seed(2)
    opening, *ways = (torch.randint(256, 4096, (length,)).tolist() for length in lengths)
    places = list(range(5, sum(lengths)))
    starts = [lengths[0], lengths[0] + lengths[1]]
    together = Encoded("", [*opening, *ways[0], *ways[1]], places, [], [], starts, [])
    batch = make_batch([together])
    hidden = torch.zeros(batch.tokens_BS.numel(), SHAPE.hidden_size)
    hidden[batch.from_P] = model(*inputs(batch)).float()
    alone = [model(torch.tensor([[*opening, *way]]))[0].float() for way in ways]
    first, second = lengths[0] + lengths[1], sum(lengths)
    for found, expected in (
        (hidden[4 : first - 1], alone[0][4:-1]),
        (hidden[first : second - 1], alone[1][lengths[0] : -1]),
    ):
        assert torch.allclose(found, expected, atol=0.15)
        assert (found - expected).abs().mean() < 0.01


@torch.no_grad()
def test_the_engine_computes_the_same(model: DemoModel, tmp_path: Path) -> None:
    torch.manual_seed(1)
    changed = DemoModel(SHAPE).eval()
    changed.load_state_dict(model.state_dict())
    for parameter in changed.parameters():  # so that no part of it is silent
        parameter.add_(torch.randn_like(parameter) * 0.05)
    (tmp_path / "t").mkdir()
    write_tokenizer(tmp_path / "t", TEXTS[:4096])
    write_folder(changed, tmp_path / "t", tmp_path / "m")
    assert json.loads((tmp_path / "m" / "generation_config.json").read_text())["eos_token_id"] == END_OF_TURN

    prompt = torch.randint(0, 4000, (1, 70))
    expected = changed.logits(changed(prompt))[0, -1].float().log_softmax(-1)
    core = load(
        EngineConfig(model_path=str(tmp_path / "m"), threads=1, max_model_len=256), lambda report: None
    ).new_core()
    sampling = SamplingParams(max_tokens=1, temperature=0.0, logprobs=5)
    core.add(GenerateRequest("a", prompt[0].tolist(), sampling, arrival=time.monotonic()))
    (output,) = core.step().outputs
    assert output.logprobs is not None
    for token, logprob in output.logprobs[0].top:
        assert logprob == pytest.approx(expected[token].item(), abs=0.15)  # both in bf16


@torch.no_grad()
def test_protected_notes_are_written_by_the_look_back_heads_only(model: DemoModel) -> None:
    torch.manual_seed(3)
    changed = DemoModel(SHAPE).eval()
    changed.load_state_dict(model.state_dict())
    for parameter in changed.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.05)
    protect(changed)
    written: list[torch.Tensor] = []
    for layer in changed.layers:
        layer.register_forward_hook(lambda module, inputs, output: written.append(output - inputs[0]))
    changed(torch.randint(0, 4096, (2, 20)))
    assert written[0][..., Layout.near].abs().max() > 1
    for change in written[1:]:
        assert change[..., Layout.near.start :].abs().max() == 0
        assert change[..., Layout.token].abs().max() > 0


def test_balance_favours_idle_experts() -> None:
    mixture = Mixture(SHAPE)
    mixture.load_E.copy_(torch.tensor([8.0, 0, 4, 4, 4, 4, 4, 4]))
    peak = mixture.balance(0.1)
    assert peak == 2.0
    assert mixture.bias_E[:3].tolist() == pytest.approx([-0.1, 0.1, 0.0])
    assert mixture.load_E.sum() == 0


@pytest.mark.parametrize("size", [(32, 64), (64, 32), (3, 16, 16)])
def test_orthogonal_evens_out_singular_values(size: tuple[int, ...]) -> None:
    torch.manual_seed(2)
    values = torch.linalg.svdvals(orthogonal(torch.randn(size)))
    assert values.min() > 0.2
    assert values.max() < 1.4
