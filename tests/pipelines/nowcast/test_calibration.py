"""What a probabilistic network learns from windows that were left out: against draws of a known law."""

import numpy as np
import pytest
import torch

from pipelines.nowcast.calibration import BINS, EDGE, FLATTEST, calibrate, count_events
from pipelines.nowcast.methods.normalisation import thresholds
from scs_model import EncoderForecaster

RATES = [0.5, 2.0]


def network() -> EncoderForecaster:
    return EncoderForecaster("scs", [4], 3, 4, leads=2, thresholds=thresholds(RATES))


def test_slope_and_constant_are_those_that_forecasts_were_wrong_by() -> None:
    """Events are drawn with log-odds 0.6·z - 0.8, where z was forecast."""
    rng = np.random.default_rng(1)
    z = rng.normal(0, 2, (2, 2, 200_000)).clip(-EDGE, EDGE - 1e-6)
    came = rng.random(z.shape) < 1 / (1 + np.exp(0.8 - 0.6 * z))
    counts = torch.zeros(2, 2, 2, BINS, dtype=torch.float64)
    number = ((z + EDGE) * BINS / (2 * EDGE)).astype(int)
    for lead, k in np.ndindex(2, 2):
        counts[0, lead, k] = torch.from_numpy(np.bincount(number[lead, k], minlength=BINS))
        counts[1, lead, k] = torch.from_numpy(np.bincount(number[lead, k], came[lead, k], minlength=BINS))
    many, few = network(), network()
    calibrate(many, counts, blocks=100_000)
    found = many.exceedance.calibration  # type: ignore[union-attr]
    torch.testing.assert_close(found, torch.tensor([0.6, -0.8]).expand(2, 2, 2), atol=0.03, rtol=0)
    # By hand: CSI of every cut of the calibrated probability.
    p = 1 / (1 + np.exp(0.8 - 0.6 * z[0, 0]))
    csi = {cut: (came[0, 0] & (p >= cut)).sum() / (came[0, 0] | (p >= cut)).sum() for cut in np.linspace(0.05, 0.9, 86)}
    best = max(csi, key=lambda cut: csi[cut])
    cut = float(many.exceedance.cuts[0, 0])  # type: ignore[union-attr]
    at_cut = (came[0, 0] & (p >= cut)).sum() / (came[0, 0] | (p >= cut)).sum()
    assert at_cut == pytest.approx(csi[best], abs=0.002)
    calibrate(few, counts, blocks=1)
    change = few.exceedance.calibration[..., 0] - 1  # type: ignore[union-attr]
    assert (change.abs() < 0.2).all(), "one shower is no proof"


def test_where_nothing_came_the_cut_stays_and_the_odds_fall_a_little() -> None:
    counts = torch.zeros(2, 2, 2, BINS, dtype=torch.float64)
    counts[0, ..., BINS // 2] = 1000
    model = network()
    calibrate(model, counts, blocks=4)
    assert torch.equal(model.exceedance.cuts, torch.full((2, 2), 0.5))  # type: ignore[union-attr]
    constant = model.exceedance.calibration[..., 1]  # type: ignore[union-attr]
    assert ((constant < 0) & (constant > -2)).all()


def test_what_is_thought_likelier_stays_so() -> None:
    """Where the unlikely came and the likely didn't, the odds get flat, and never turn round."""
    counts = torch.zeros(2, 2, 2, BINS, dtype=torch.float64)
    counts[0] = 1000
    counts[1, ..., : BINS // 2] = 900
    model = network()
    calibrate(model, counts, blocks=1000)
    slope = model.exceedance.calibration[..., 0]  # type: ignore[union-attr]
    torch.testing.assert_close(slope, torch.full((2, 2), FLATTEST))


def test_every_pixel_that_is_seen_is_counted_once() -> None:
    window = torch.rand(3, 6, 1, 32, 32) * 4
    window[:, 4:, :, :, :8] = torch.nan
    counts = count_events(network(), [window[:2], window[2:]], RATES, inputs=4)
    assert counts.shape == (2, 2, 2, BINS)
    assert (counts[0].sum(-1) == 3 * 32 * 24).all()
    for k, rate in enumerate(RATES):
        expected = (window[:, 4:] >= rate).sum((0, 2, 3, 4)).double()
        assert torch.equal(counts[1, :, k].sum(-1), expected)
