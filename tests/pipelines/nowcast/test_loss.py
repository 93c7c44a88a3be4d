"""The smooth CSI against its formula, and counts against the `scores` library's."""

import numpy as np
import pytest
import torch
import xarray as xr
from scores.categorical import ThresholdEventOperator

from pipelines.nowcast.loss import AMOUNT, RATES, SHARPNESS, SkillLoss, event_counts, weighted_error
from pipelines.nowcast.methods.normalisation import normalise


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
    assert torch.equal(event_counts(forecast, observed), event_counts(other, observed))
    nothing = SkillLoss(2)(forecast.requires_grad_(), torch.full_like(observed, torch.nan))
    nothing.backward()
    assert nothing.isfinite()
    assert forecast.grad is not None and forecast.grad.isfinite().all()


def test_counts_are_those_of_scores() -> None:
    observed, forecast = rain(4), rain(5)
    hits, unions = event_counts(normalise(forecast), observed).numpy()
    for number, rate in enumerate(RATES):
        fields = [xr.DataArray(x[:, :, 0].numpy(), dims=("case", "lead", "y", "x")) for x in (forecast, observed)]
        manager = ThresholdEventOperator().make_contingency_manager(*fields, event_threshold=rate)
        csi = manager.transform(preserve_dims=["lead"]).critical_success_index()
        assert hits[:, number] / unions[:, number] == pytest.approx(csi.to_numpy())
