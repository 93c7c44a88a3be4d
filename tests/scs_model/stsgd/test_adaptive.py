import json
from itertools import pairwise

import pytest
import torch

from scs_model.stsgd.adaptive import AdaptiveSwitch


def scalar(x):
    return torch.tensor(float(x))


def test_p_by_hand():
    switch = AdaptiveSwitch(p0=0.4, fraction=0.5, gain=0.5, warmup=2, smoothing=0.0)
    assert switch.p == 1.0
    # L1_0 = 2, θ = 1: 0.4 + 0.6 · (2 - 1) / (2 - 1) · (0.5 · (3 / 2 - 1) + 1) = 1.15, clipped
    assert switch.update(scalar(3), scalar(2)) == 1.0
    # L1_0 = 3, θ = 1.5: 0.4 + 0.6 · 2.5 / 1.5 · (0.5 · (1 / 4 - 1) + 1) = 1.025, clipped
    assert switch.update(scalar(1), scalar(4)) == 1.0
    # 0.4 + 0.6 · (2 - 1.5) / 1.5 · (0.5 · (1 / 2 - 1) + 1) = 0.55
    assert switch.update(scalar(1), scalar(2)) == pytest.approx(0.55)
    assert switch.update(scalar(1), scalar(1.5)) == pytest.approx(0.4), "at θ T¹ is learned"
    assert switch.update(scalar(9), scalar(0)) == pytest.approx(0.4)


def test_the_authors_numbers():
    """400 classes: θ = 1, L1_0 = 5.99, p0 = 0.5, α = 1, of which p = 0.5 + 0.5 · (L1 - 1) / 4.99 · L / L1."""
    for L, L1 in ((5.0, 5.0), (3.0, 4.0), (2.0, 1.5), (0.5, 0.9)):
        switch = AdaptiveSwitch(p0=0.5, fraction=1 / 5.99, gain=1.0, warmup=1, smoothing=0.0)
        switch.update(scalar(5.99), scalar(5.99))
        wanted = 0.5 + 0.5 * max(0, L1 - 1) / 4.99 * L / L1
        assert switch.update(scalar(L), scalar(L1)) == pytest.approx(min(wanted, 1.0), rel=1e-6)


def test_losses_are_smoothed():
    switch = AdaptiveSwitch(smoothing=0.75, warmup=1)
    for L in (1.0, 3.0, 2.0, 6.0, 2.0):
        switch.update(scalar(L), scalar(2 * L))
    # A plain mean for as long as it is the smoother: (1 + 3 + 2 + 6) / 4 = 3, then 0.75 · 3 + 0.25 · 2.
    assert switch.main_loss == pytest.approx(2.75)
    assert switch.t1_loss == pytest.approx(5.5)


def test_training_goes_from_one_to_p0():
    switch = AdaptiveSwitch(p0=0.5)
    ps = [switch.update(scalar(1.1 * 0.98**step), scalar(0.98**step)) for step in range(200)]
    assert ps[0] > 0.95 and ps[-1] == 0.5
    assert all(later <= earlier + 1e-6 for earlier, later in pairwise(ps[20:]))


def test_a_resumed_run_goes_on_as_it_was():
    losses = torch.rand(30, 2) + 0.5
    whole = AdaptiveSwitch(warmup=12)
    before = AdaptiveSwitch(warmup=12)
    ps = [whole.update(*pair) for pair in losses]
    for pair in losses[:10]:
        before.update(*pair)
    after = AdaptiveSwitch(warmup=12)
    after.load_state_dict(json.loads(json.dumps(before.state_dict())))
    assert after.p == before.p
    assert [after.update(*pair) for pair in losses[10:]] == ps[10:]


def test_a_loss_of_zero_from_the_start():
    switch = AdaptiveSwitch(p0=0.3, warmup=1)
    assert switch.update(scalar(0), scalar(0)) == 0.3
    assert switch.update(scalar(1), scalar(1)) == 0.3


def test_refusals():
    with pytest.raises(ValueError, match="p0 2"):
        AdaptiveSwitch(p0=2)
    with pytest.raises(ValueError, match="fraction 1"):
        AdaptiveSwitch(fraction=1)
    with pytest.raises(ValueError, match="main loss is nan"):
        AdaptiveSwitch().update(scalar("nan"), scalar(1))
