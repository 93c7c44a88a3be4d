"""The smooth CSI against its formula, and counts against the `scores` library's."""

import numpy as np
import pytest
import torch
import xarray as xr
from scores.categorical import ThresholdEventOperator

from pipelines.forecasters import match_rates
from pipelines.rain import normalise
from pipelines.skill_loss import AMOUNT, RATES, SHARPNESS, SkillLoss, event_counts, matched_rates, weighted_error


def rain(seed: int, leads: int = 2) -> torch.Tensor:
    torch.manual_seed(seed)
    return torch.distributions.Gamma(0.7, 0.25).sample((3, leads, 1, 12, 10))


def newest(seed: int) -> torch.Tensor:
    return rain(seed, 1)


def test_matched_rates_are_those_that_matching_gives_the_rates_at() -> None:
    """Against the forecaster's own matching, which is pysteps'."""
    forecast, observed = normalise(rain(1)), newest(2)
    observed[:, :, :, :3] = torch.nan
    cuts = matched_rates(forecast, observed)
    for sample in range(3):
        seen = observed[sample, 0, 0].numpy()
        for lead in range(2):
            matched = match_rates(forecast[sample, lead, 0].numpy(), seen)
            for number, rate in enumerate(RATES):
                event = (forecast[sample, lead, 0] >= cuts[number, sample, lead, 0, 0, 0]).numpy() & np.isfinite(seen)
                if (seen >= rate).any():
                    assert np.array_equal(event, matched >= rate)
                else:
                    assert event.sum() == 1


def test_the_first_batch_s_loss_and_gradient_are_those_of_the_ratio() -> None:
    observed, forecast, last = rain(0), normalise(0.7 * rain(0) + 0.3 * rain(1)).requires_grad_(), newest(2)
    observed[:, :, :, :2] = torch.nan
    loss = SkillLoss(2)(forecast, observed, last)
    total = 0.0
    mean = forecast.mean((-2, -1), keepdim=True)
    for lead in range(2):
        for rate in RATES:
            cut = torch.stack(
                [
                    said[lead].flatten().sort().values[-max(1, int((frame >= rate).sum()))]
                    for said, frame in zip(forecast.detach(), last, strict=True)
                ]
            )
            above = (forecast - mean)[:, lead] - (cut.view(3, 1, 1, 1) - mean.detach()[:, lead])
            p = 1 / (1 + torch.exp(-SHARPNESS * above))
            event, valid = observed[:, lead] >= rate, observed[:, lead].isfinite()
            total = total + 1 - (p * event).sum() / (event.sum() + (p * (valid & ~event)).sum())
    wanted = total / (2 * len(RATES)) + AMOUNT * weighted_error(forecast, observed)
    torch.testing.assert_close(loss, wanted)
    torch.testing.assert_close(*(torch.autograd.grad(value, forecast)[0] for value in (loss, wanted)))


def test_saying_more_everywhere_changes_nothing_but_the_amounts_error() -> None:
    observed, forecast, last = rain(0), normalise(rain(1)).requires_grad_(), newest(2)

    def events(said: torch.Tensor) -> torch.Tensor:
        return SkillLoss(2)(said, observed, last) - AMOUNT * weighted_error(said, observed)

    torch.testing.assert_close(events(forecast), events(forecast + 3.0))
    (gradient,) = torch.autograd.grad(events(forecast), forecast)
    torch.testing.assert_close(gradient.sum((-2, -1)), torch.zeros(3, 2, 1), atol=1e-6, rtol=0)


def test_running_sums_are_of_training_alone() -> None:
    loss = SkillLoss(2)
    loss(normalise(rain(1)), rain(0), newest(4))
    before = loss.hits.clone()
    loss.eval()
    loss(normalise(rain(2)), rain(3), newest(4))
    assert torch.equal(loss.hits, before)
    loss.train()
    loss(normalise(rain(2)), rain(3), newest(4))
    assert not torch.equal(loss.hits, before)
    assert loss.batches == 2


def test_a_forecast_that_is_right_far_from_every_cut_costs_nothing() -> None:
    observed = torch.where(rain(0) > 2.0, 60.0, 0.0)
    last = observed[:, :1].clone()
    observed[:] = last  # it rains as it did
    said = torch.where(observed > 0, 9.0, -3.0)  # the highest values are the cuts: the order of the wet pixels decides
    said = said + 3.0 * (observed > 0) * torch.rand_like(observed)
    assert SkillLoss(2)(said, observed, last) - AMOUNT * weighted_error(said, observed) < 0.05
    assert SkillLoss(2)(-said, observed, last) - AMOUNT * weighted_error(-said, observed) > 0.6


def test_what_is_not_seen_doesn_t_count() -> None:
    observed, forecast = rain(0), normalise(rain(1))
    observed[:, :, :, 3:5] = torch.nan
    other = forecast.clone()
    other[:, :, :, 3:5] = 7.0
    last = newest(2)
    last[:, :, :, 3:5] = torch.nan
    assert torch.equal(event_counts(forecast, observed, last), event_counts(other, observed, last))
    nothing = SkillLoss(2)(forecast.requires_grad_(), torch.full_like(observed, torch.nan), last)
    nothing.backward()
    assert nothing.isfinite()
    assert forecast.grad is not None and forecast.grad.isfinite().all()


def test_counts_are_those_of_scores_of_the_matched_forecast() -> None:
    observed, forecast, last = rain(4), rain(5), newest(6)
    last[:, :, :, 0, :6] = torch.tensor([0.3, 0.7, 1.5, 3.0, 7.0, 20.0])  # every rate is there to be matched
    matched = torch.stack(
        [
            torch.stack([torch.from_numpy(match_rates(lead[0].numpy(), frame[0, 0].numpy()))[None] for lead in sample])
            for sample, frame in zip(forecast, last, strict=True)
        ]
    )
    hits, unions = event_counts(normalise(forecast), observed, last).numpy()
    for number, rate in enumerate(RATES):
        fields = [xr.DataArray(x[:, :, 0].numpy(), dims=("case", "lead", "y", "x")) for x in (matched, observed)]
        manager = ThresholdEventOperator().make_contingency_manager(*fields, event_threshold=rate)
        csi = manager.transform(preserve_dims=["lead"]).critical_success_index()
        assert hits[:, number] / unions[:, number] == pytest.approx(csi.to_numpy())
