"""Amounts of members: those of `scores` on sums that numpy makes."""

import numpy as np
import pandas as pd
import pytest
import scores.probability
import xarray as xr

from pipelines.verification.amounts import AmountSums
from pipelines.verification.probabilities import crps, probability_scores

RNG = np.random.default_rng(2)
AMOUNTS = np.linspace(0, 60, 1201)[1:].tolist()
OBSERVED = RNG.gamma(0.5, 4.0, (5, 40, 50)).astype(np.float32)
ENSEMBLE = RNG.gamma(0.5, 4.0, (7, 5, 40, 50)).astype(np.float32)
MASK = RNG.random((5, 40, 50)) < 0.98
MASK[:, :16, :32] = True  # two whole squares


def table(minutes: list[float], *, members_first: bool) -> pd.DataFrame:
    sums = AmountSums(np.where(MASK, OBSERVED, np.nan), MASK, pixel_m=1000.0, minutes=minutes)
    order = [(m, lead) for m in range(7) for lead in range(5)]
    for member, lead in order if members_first else sorted(order, key=lambda pair: pair[1]):
        sums.add(lead, np.where(MASK[lead], ENSEMBLE[member, lead], np.nan))
    return sums.table(AMOUNTS)


@pytest.mark.parametrize(("step", "leads"), [(10.0, 5), (15.0, 4), (30.0, 2), (90.0, 1)])
def test_crps_of_an_hour_at_pixels_and_areas_is_that_of_scores(step: float, leads: int) -> None:
    ours = table((step * np.arange(1, 6)).tolist(), members_first=True)
    assert (ours["minutes"] == step * leads).all()
    counts = MASK[:leads].all(axis=0)
    amounts = [rain[..., :leads, :, :].sum(axis=-3) * step / 60 for rain in (ENSEMBLE, OBSERVED)]
    areas = [np.stack([of[..., :16, :16].mean((-2, -1)), of[..., :16, 16:32].mean((-2, -1))], -1) for of in amounts]
    for name, (members, came) in {"amounts": [of[..., counts] for of in amounts], "areas": areas}.items():
        for method, column in (("ecdf", "brier"), ("fair", "brier_fair")):
            theirs = scores.probability.crps_for_ensemble(
                xr.DataArray(members, dims=("member", "at")), xr.DataArray(came, dims="at"), "member", method=method
            )
            of = probability_scores(ours[ours["of"] == name])
            assert crps(of, column).item() == pytest.approx(theirs.item(), abs=0.03)
            assert of["brier"].notna().all()


def test_members_or_lead_times_may_come_first() -> None:
    minutes = [10.0, 20.0, 30.0, 40.0, 50.0]
    pd.testing.assert_frame_equal(table(minutes, members_first=True), table(minutes, members_first=False))


def test_a_grid_smaller_than_an_area_has_none() -> None:
    sums = AmountSums(OBSERVED[:, :9, :9], MASK[:, :9, :9], pixel_m=1000.0, minutes=[10.0, 20.0, 30.0, 40.0, 50.0])
    for lead in range(5):
        for member in ENSEMBLE:
            sums.add(lead, member[lead, :9, :9])
    pixels = sums.table([1.0]).set_index("of")["pixels"]
    assert (pixels["amounts"], pixels["areas"]) == (MASK[:, :9, :9].all(axis=0).sum(), 0)
