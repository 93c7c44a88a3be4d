"""The smooth CSI against its formula, counts against the `scores` library's, and CRPS against verification's."""

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from scores.categorical import ThresholdEventOperator

from pipelines.nowcast.loss import AMOUNT, LOGARITHM, RATES, SHARPNESS, CRPSLoss, SkillLoss, weighted_error
from pipelines.nowcast.methods.normalisation import normalise
from pipelines.verification.probabilities import crps, probability_scores, score_probabilities


def rain(seed: int, leads: int = 2) -> torch.Tensor:
    torch.manual_seed(seed)
    return torch.distributions.Gamma(0.7, 0.25).sample((3, leads, 1, 12, 10))


def test_the_first_batch_s_loss_and_gradient_are_those_of_the_ratio() -> None:
    observed, forecast = rain(0), normalise(0.7 * rain(0) + 0.3 * rain(1)).requires_grad_()
    observed[:, :, :, :2] = torch.nan
    loss = SkillLoss(2)(forecast, observed)
    total = 0.0
    for lead in range(2):
        for rate in RATES:
            p = 1 / (1 + torch.exp(-SHARPNESS * (forecast[:, lead] - np.log1p(rate))))
            event, valid = observed[:, lead] >= rate, observed[:, lead].isfinite()
            total = total + 1 - (p * event).sum() / (event.sum() + (p * (valid & ~event)).sum())
    wanted = total / (2 * len(RATES)) + AMOUNT * weighted_error(forecast, observed)
    torch.testing.assert_close(loss, wanted)
    torch.testing.assert_close(*(torch.autograd.grad(value, forecast)[0] for value in (loss, wanted)))


def test_running_sums_are_of_training_alone() -> None:
    loss = SkillLoss(2)
    loss(normalise(rain(1)), rain(0))
    before = loss.hits.clone()
    loss.eval()
    loss(normalise(rain(2)), rain(3))
    assert torch.equal(loss.hits, before)
    loss.train()
    loss(normalise(rain(2)), rain(3))
    assert not torch.equal(loss.hits, before)
    assert loss.batches == 2


def test_a_forecast_that_is_right_far_from_every_rate_costs_nothing() -> None:
    observed = torch.where(rain(0) > 2.0, 60.0, 0.0)
    said = torch.where(observed > 0, 9.0, -3.0)  # ln(1 + R), far from ln(1 + rate) on either side
    assert SkillLoss(2)(said, observed) - AMOUNT * weighted_error(said, observed) < 1e-3
    assert SkillLoss(2)(-said, observed) - AMOUNT * weighted_error(-said, observed) > 0.99


def test_what_is_not_seen_doesn_t_count() -> None:
    observed, forecast = rain(0), normalise(rain(1))
    observed[:, :, :, 3:5] = torch.nan
    other = forecast.clone()
    other[:, :, :, 3:5] = 7.0
    assert torch.equal(SkillLoss(2)(forecast, observed), SkillLoss(2)(other, observed))
    assert torch.equal(SkillLoss(1).sums(forecast, observed), SkillLoss(1).sums(other, observed))
    nothing = SkillLoss(2)(forecast.requires_grad_(), torch.full_like(observed, torch.nan))
    nothing.backward()
    assert nothing.isfinite()
    assert forecast.grad is not None and forecast.grad.isfinite().all()


def test_counts_are_those_of_scores() -> None:
    observed, forecast = rain(4), rain(5)
    hits, unions = SkillLoss(1).sums(normalise(forecast), observed).numpy()
    for number, rate in enumerate(RATES):
        fields = [xr.DataArray(x[:, :, 0].numpy(), dims=("case", "lead", "y", "x")) for x in (forecast, observed)]
        manager = ThresholdEventOperator().make_contingency_manager(*fields, event_threshold=rate)
        csi = manager.transform(preserve_dims=["lead"]).critical_success_index()
        assert hits[:, number] / unions[:, number] == pytest.approx(csi.to_numpy())


def test_crps_is_that_of_verification() -> None:
    """The integral of Brier scores, as `scores` is held against in verification."""
    rates = [0.2, 1.0, 5.0]
    observed = rain(2)
    observed[:, :, :, 2:4] = torch.nan
    log_odds = torch.randn(*observed.shape[:2], 3, *observed.shape[3:]).cummin(2).values
    tables = []
    for one, truth in zip(torch.sigmoid(log_odds).numpy(), observed[:, :, 0].numpy(), strict=True):
        tables.append(score_probabilities(one, truth, np.isfinite(truth), rates, minutes=range(len(truth))))
    by_hand = crps(probability_scores(pd.concat(tables)))
    loss = CRPSLoss(rates).eval()
    assert loss(log_odds, observed).item() == pytest.approx(by_hand.mean(), rel=1e-5)
    halves = loss.sums(log_odds[:1], observed[:1]) + loss.sums(log_odds[1:], observed[1:])
    assert loss.of_sums(halves).item() == pytest.approx(by_hand.mean(), rel=1e-5)


def test_in_training_it_tells_rare_rates_apart_and_what_came_is_still_best() -> None:
    loss, (f, width) = CRPSLoss([1.0, 2.0]), (0.03, 0.5)  # both rates stand for half a mm/h
    observed = torch.zeros(1, 1, 1, 10, 10)
    observed[..., 0, :3] = 5.0

    def gradient(p: float) -> float:
        log_odds = torch.full((1, 1, 2, 10, 10), p).logit().requires_grad_()
        loss(log_odds, observed).backward()
        assert log_odds.grad is not None
        return log_odds.grad.sum().item()

    for p in (1e-4, 1e-3, 0.3):  # by hand: of Brier and of logarithmic scores
        by_hand = 2 * width * (p - f) * (2 * p * (1 - p) + LOGARITHM)
        assert gradient(p) == pytest.approx(by_hand, rel=1e-4)
    assert gradient(f) == pytest.approx(0, abs=1e-7)


def test_a_sure_forecast_costs_its_absolute_error() -> None:
    """CRPS of a point is its absolute error: of a field as of probabilities of 0 and 1, between the rates."""
    rates = np.arange(0.01, 30.0, 0.01).tolist()
    observed, field = rain(6).clamp(0.01, 29.99), rain(7).clamp(0.01, 29.99)
    loss = CRPSLoss(rates).eval()
    sure = torch.where(field >= torch.tensor(rates).view(-1, 1, 1), 1e4, -1e4)
    expected = (field - observed).abs().mean().item()
    assert loss(sure, observed).item() == pytest.approx(expected, abs=0.02)
    frame, truth = normalise(field[:, :1]).requires_grad_(), observed[:, :1]
    error = loss.reconstruction_error(frame, truth)
    assert error.item() == pytest.approx((field[:, :1] - truth).abs().mean().item(), abs=0.02)
    error.backward()
    assert frame.grad is not None and (frame.grad != 0).float().mean() > 0.9
