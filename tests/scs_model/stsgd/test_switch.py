import math

import pytest
import torch

from scs_model.stsgd.switch import draw_open_paths

# π_s, π_t from the rule: two-sided at p < 0.5 (p, 1 - p²), else (1 - (1 - p)², 1 - p); one-sided (1, 1 - p).
CASES = [
    ("two_sided", 0.0, 0.0, 1.0),
    ("two_sided", 0.25, 0.25, 0.9375),
    ("two_sided", 0.49, 0.49, 0.7599),
    ("two_sided", 0.5, 0.75, 0.5),
    ("two_sided", 0.75, 0.9375, 0.25),
    ("two_sided", 1.0, 1.0, 0.0),
    ("one_sided", 0.3, 1.0, 0.7),
    ("one_sided", 1.0, 1.0, 0.0),
    ("off", 0.7, 1.0, 1.0),
]


def draw(kind="two_sided", p=0.5, *, seed=1, step=0, rank=0, layers=3, steps=8):
    return draw_open_paths(kind, p, seed=seed, step=step, rank=rank, layers=layers, steps=steps)


@pytest.mark.parametrize(("kind", "p", "spatial", "temporal"), CASES)
def test_frequencies(kind, p, spatial, temporal):
    draws = torch.stack([draw(kind, p, step=step, layers=10, steps=20) for step in range(100)])
    n = draws[..., 0].numel()
    for path, wanted in ((0, spatial), (1, temporal)):
        share = draws[..., path].double().mean().item()
        assert abs(share - wanted) <= 4.5 * math.sqrt(wanted * (1 - wanted) / n), (path, share, wanted)
    assert draws.any(-1).all(), "one path at least stays open"


def test_every_layer_and_time_has_its_own_draw():
    draws = torch.stack([draw(step=step, layers=4, steps=5) for step in range(2000)]).double()
    by_place = draws.flatten(1)
    shares = by_place.view(2000, 20, 2).mean(0)
    assert ((shares - torch.tensor([0.75, 0.5])).abs() < 5 * 0.5 / math.sqrt(2000)).all()
    for path in (0, 1):
        correlation = torch.corrcoef(draws[..., path].flatten(1).T) - torch.eye(20)
        assert correlation.abs().max() < 5.5 / math.sqrt(2000)


def test_the_draw_is_a_function_of_where_it_is():
    assert torch.equal(draw(), draw())
    longer = draw(layers=5, steps=30)
    assert torch.equal(longer[:3, :8], draw()), "neither depth nor length changes the others' draws"
    big = {"layers": 6, "steps": 40}
    others = [draw(**big), draw(seed=2, **big), draw(step=1, **big), draw(rank=1, **big)]
    for i, one in enumerate(others):
        for other in others[:i]:
            assert not torch.equal(one, other)


def test_a_larger_p_stops_the_temporal_path_more_of_the_same_times():
    low, high = draw(p=0.6, steps=200)[..., 1], draw(p=0.8, steps=200)[..., 1]
    assert (high <= low).all() and not torch.equal(high, low)


def test_refusals():
    with pytest.raises(ValueError, match="'both' is none of off, one_sided, two_sided"):
        draw("both")
    with pytest.raises(ValueError, match=r"1\.5"):
        draw(p=1.5)
    with pytest.raises(ValueError, match="nan"):
        draw(p=math.nan)


def test_no_layers():
    assert draw(layers=0).shape == (0, 8, 2)
