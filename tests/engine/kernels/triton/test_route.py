"""The choice of experts in Triton against the specification."""

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")

from support.triton_kernels import Random

from engine.kernels import reference
from engine.kernels.triton import route

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def same(found: tuple[torch.Tensor, torch.Tensor], expected: tuple[torch.Tensor, torch.Tensor]) -> None:
    """The same experts with the same weights, in any order."""
    for (weights, ids), _ in ((found, None), (expected, None)):
        assert weights.dtype == torch.float32
        assert ids.dtype == torch.int64
    order, expected_order = found[1].argsort(-1), expected[1].argsort(-1)
    assert torch.equal(found[1].gather(1, order), expected[1].gather(1, expected_order))
    torch.testing.assert_close(found[0].gather(1, order), expected[0].gather(1, expected_order))


@pytest.mark.parametrize(("experts", "groups", "kept", "top_k"), [(48, 1, 1, 8), (24, 4, 2, 3), (40, 8, 3, 5)])
@pytest.mark.parametrize("normalize", [True, False])
def test_route(experts: int, groups: int, kept: int, top_k: int, normalize: bool) -> None:
    random = Random(experts)
    hidden, gate, bias = random.normal(7, 16, dtype=torch.bfloat16), random.normal(experts, 16), random.normal(experts)
    how = {"experts_per_token": top_k, "groups": groups, "groups_kept": kept, "normalize": normalize, "scale": 2.5}
    same(route.route(hidden, gate, bias, **how), reference.route(hidden, gate, bias, **how))  # type: ignore[arg-type]


def test_dropped_groups_stay_out_even_when_the_kept_scores_are_negative() -> None:
    hidden, gate, bias = torch.ones(1, 1), torch.zeros(4, 1), torch.tensor([0.4, -0.9, -1.0, -1.0])
    random = Random(0)
    hidden, gate, bias = (x.to(random.normal(1).device) for x in (hidden, gate, bias))
    weights, ids = route.route(
        hidden, gate, bias, experts_per_token=2, groups=2, groups_kept=1, normalize=True, scale=1.0
    )
    assert set(ids[0].tolist()) == {0, 1}
    assert weights[0].tolist() == [0.5, 0.5]


def test_route_softmax() -> None:
    random = Random(9)
    hidden, gate = random.normal(5, 16), random.normal(24, 16)
    for normalize in (True, False):
        how = {"experts_per_token": 3, "normalize": normalize}
        same(route.route_softmax(hidden, gate, **how), reference.route_softmax(hidden, gate, **how))  # type: ignore[arg-type]


def test_nan_reaches_the_weights_and_no_foreign_expert() -> None:
    random = Random(10)
    hidden, gate, bias = random.normal(2, 16), random.normal(12, 16), random.normal(12)
    hidden[1, 3] = torch.nan
    weights, ids = route.route(
        hidden, gate, bias, experts_per_token=4, groups=1, groups_kept=1, normalize=True, scale=1.0
    )
    assert weights[0].isfinite().all()
    assert weights[1].isnan().all()
    assert ((ids >= 0) & (ids < 12)).all()
