"""Amounts and areas that members told of, scored as issued: by hand, with gaps, and where the areas are others now."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyproj
import pytest
import xarray as xr
from archive import moving_cells
from domains import domain_in
from geojson import box, feature, written
from small_model import probabilistic

from pipelines.nowcast.methods.extrapolation import extrapolation
from pipelines.operation.forecast import forecast
from pipelines.operation.ledger import LEDGER, MEMBERS, PROBABILITIES, ledger_file, read_ledger
from pipelines.operation.live_store import LiveStore
from pipelines.operation.products.names import NETCDF, stamp
from pipelines.operation.skill import headlines
from pipelines.operation.skill_table import skill_table
from pipelines.operation.sources import of_store
from pipelines.operation.verify import close_cycles
from pipelines.params.operation import Domain, Members
from pipelines.radar.grid import Grid
from pipelines.verification.probabilities import OF_BINS, PROBABILITY_SUMS

SHAPE = (48, 64)
DEGREES = Grid.from_edges(pyproj.CRS.from_epsg(4326), left=5.0, top=52.0, dx=0.02, dy=0.01, shape=SHAPE)
FRAMES = [replace(frame, grid=DEGREES) for frame in moving_cells("2024-06-01T12:00:00", 17, shape=SHAPE)]
NEWEST, LEADS, AMOUNTS = FRAMES[4], 12, [0.1003, 0.5003]  # no sum of steps of 0.01 mm/h is just there
MODEL = ("radar-nowcast", "7", "mixture")
LATER = np.datetime64("2024-06-01T18:00:00")
# Rows 24 to 39 and columns 30 to 49, and the lower half of it.
AREAS = [feature("a", box(5.6, 51.6, 6.0, 51.76)), feature("b", box(5.6, 51.6, 6.0, 51.68))]


def of(tmp_path: Path, *areas: dict[str, Any], **changes: Any) -> tuple[Domain, LiveStore]:
    """A domain of areas, whose frames up to the newest have come."""
    domain = domain_in(tmp_path, areas=written(tmp_path / "areas.geojson", *areas) if areas else None, **changes)
    live = LiveStore.of(domain)
    live.append(FRAMES[:5])
    return domain, live


def issue(domain: Domain, live: LiveStore, members: Members | None) -> xr.Dataset:
    """Publish a forecast's netCDF, and give it as it is read."""
    source = of_store(live.open(), "live")
    given, _ = forecast(source, lambda: probabilistic([0.1, 1.0]), domain.policy, members=members, areas=domain.areas)
    path = domain.out / stamp(NEWEST.time) / NETCDF
    path.parent.mkdir(parents=True)
    given.to_netcdf(path, engine="netcdf4")
    with xr.open_dataset(path, decode_timedelta=False) as dataset:
        return dataset.load()


def close(domain: Domain, live: LiveStore) -> list[tuple[np.datetime64, int]]:
    problems: list[str] = []
    closed = list(close_cycles(domain, live.open(), [1.0], LATER, problems))
    assert not problems
    return closed


def trapezoids(newest: np.ndarray, rain: np.ndarray) -> np.ndarray:
    """Amounts over half an hour each, mm, of rates every 5 minutes, (2, H, W)."""
    ends = np.concatenate([newest[None], rain])
    return np.stack([np.trapezoid(ends[first : first + 7], dx=5 / 60, axis=0) for first in (0, 6)])


def came_of(row: pd.Series) -> float:
    return row[[name for name in OF_BINS if name.startswith("came")]].sum()


def test_amounts_and_areas_are_scored_as_issued(tmp_path: Path) -> None:
    domain, live = of(tmp_path, *AREAS)
    given = issue(domain, live, Members(count=4, amounts=AMOUNTS))
    live.append(FRAMES[5:])
    assert close(domain, live) == [(NEWEST.time, 0)]

    ledger = read_ledger(domain.out, kind=MEMBERS)
    assert ledger.groupby("quantity").size().to_dict() == {
        "rainfall_amount_30min": 3 * 2 * 2,
        "rainfall_amount_60min": 3 * 2,
        "region_rainfall_flux": 3 * 12 * 2,
        "region_rainfall_amount_30min": 3 * 2 * 2,
        "region_rainfall_amount_60min": 3 * 2,
    }
    frames = live.open()["rainfall_flux"].to_numpy()
    fields = {"observed": frames[5:], "extrapolation": extrapolation(frames[2:5], LEADS)}
    fields["persistence"] = np.repeat(frames[4:5], LEADS, axis=0)
    mask = np.all([np.isfinite(field) for field in (*fields.values(), given["rainfall_flux"].to_numpy())], axis=0)
    halves = {name: trapezoids(frames[4], np.where(mask, field, np.nan)) for name, field in fields.items()}
    rows = ledger.set_index(["quantity", "forecaster", "threshold", "minutes"])

    def shares_of(quantity: str) -> np.ndarray:
        return given[f"{quantity}_exceedance_probability"].to_numpy()

    def check(quantity: str, minutes: float, of_all: dict[str, np.ndarray], shares: np.ndarray) -> None:
        known = np.all([np.isfinite(one) for one in of_all.values()], axis=0)
        for number, amount in enumerate(AMOUNTS):
            came = (of_all["observed"] >= amount)[known].astype(float)
            said = {name: (of_all[name] >= amount)[known] for name in ("extrapolation", "persistence")}
            for name, p in (said | {"issued": shares[number][known]}).items():
                row, of_ensemble = rows.loc[(quantity, name, amount, minutes)], name == "issued"
                assert (row["pixels"], came_of(row)) == (known.sum(), came.sum())
                assert row["squared_error"] == pytest.approx(np.square(p - came).sum(), rel=1e-5)
                fair = np.square(p - came).sum() - of_ensemble * (p * (1.0 - p)).sum() / 3  # Ferro 2014, of 4 members
                assert row["fair_error"] == pytest.approx(fair, rel=1e-5)
                np.testing.assert_equal(row["members"], 4.0 if of_ensemble else np.nan)

    for period, minutes in enumerate((30.0, 60.0)):
        of_all = {name: of_period[period] for name, of_period in halves.items()}
        assert 0.4 < np.isfinite(of_all["observed"]).mean() < 0.9
        check("rainfall_amount_30min", minutes, of_all, shares_of("rainfall_amount_30min")[period])
        # The mean of what is known in the window; more than 0.9 of it is.
        means = {
            name: np.array([np.nanmean(f[24:40, 30:50]), np.nanmean(f[32:40, 30:50])]) for name, f in of_all.items()
        }
        check("region_rainfall_amount_30min", minutes, means, shares_of("region_rainfall_amount_30min")[period])
    hours = {name: of_period.sum(axis=0) for name, of_period in halves.items()}
    check("rainfall_amount_60min", 60.0, hours, shares_of("rainfall_amount_60min")[0])
    lead = np.where(mask, fields["observed"], np.nan)[11, 24:40, 30:50]
    row = rows.loc[("region_rainfall_flux", "persistence", 1.0, 60.0)]
    assert (row["pixels"], came_of(row)) == (2, sum(float(np.nanmean(of)) >= 1 for of in (lead, lead[8:])))
    # Rates of pixels are the model's own, and in the ledger of before.
    of_rates = read_ledger(domain.out, kind=PROBABILITIES)
    assert len(of_rates) == 3 * 12 * 2 and "quantity" not in of_rates and of_rates["members"].isna().all()

    # CRPS of the hour, by trapezoids: between two amounts their mean Brier score.
    known = np.isfinite(hours["observed"])
    wrong = [
        ((hours[name] >= a) != (hours["observed"] >= a))[known].mean() for name in ("persistence",) for a in AMOUNTS
    ]
    crps = (AMOUNTS[1] - AMOUNTS[0]) * np.mean(wrong)
    metrics = headlines(read_ledger(domain.out), MODEL, of_rates, ledger)
    assert metrics["persistence_crps_rainfall_amount_60min"] == pytest.approx(crps, rel=1e-5) and crps > 0.005
    assert metrics["issued_crps_fair_region_rainfall_flux"] <= metrics["issued_crps_region_rainfall_flux"]
    lines = skill_table(domain.out, 1).splitlines()
    (line,) = [one for one in lines if one.startswith("| radar-nowcast | 7 | rainfall_amount_60min | ")]
    assert line.endswith(f"| {crps:.3f} |")
    said = given["rainfall_flux_exceedance_probability"].sel(threshold=1.0).to_numpy()
    likely = mask & (said >= 0.5)
    came = (fields["observed"] >= 1.0)[likely].mean()
    (line,) = [one for one in lines if one.startswith("| radar-nowcast | 7 | rainfall_flux | 1 | likely | ")]
    assert line.startswith(
        f"| radar-nowcast | 7 | rainfall_flux | 1 | likely | {said[likely].mean():.2%} | {came:.2%} | "
    )
    assert line.endswith("[nan to nan] | 1 |"), "one block has no interval"


def test_what_isnt_issued_isnt_scored(tmp_path: Path) -> None:
    for name, members, areas in (("neither", None, []), ("areas", None, AREAS), ("members", Members(count=2), [])):
        (tmp_path / name).mkdir()
        domain, live = of(tmp_path / name, *areas)
        issue(domain, live, members)
        live.append(FRAMES[5:])
        assert close(domain, live) == [(NEWEST.time, 0)]
        ledger = read_ledger(domain.out, kind=MEMBERS)
        assert set(ledger.get("quantity", ())) == (
            {"rainfall_amount_30min", "rainfall_amount_60min"} if name == "members" else set()
        )


def test_a_frame_that_never_comes_is_missing_in_the_sums_that_it_is_part_of_alone(tmp_path: Path) -> None:
    domain, live = of(tmp_path, *AREAS)
    issue(domain, live, Members(count=2, amounts=AMOUNTS))
    live.append([frame for frame in FRAMES[5:] if frame is not FRAMES[12]])  # 40 minutes after the newest
    assert close(domain, live) == [(NEWEST.time, 1)]
    ledger = read_ledger(domain.out, kind=MEMBERS)
    minutes = ledger.groupby("quantity")["minutes"].unique().map(sorted).to_dict()
    leads = [float(lead) for lead in range(5, 61, 5) if lead != 40]
    assert minutes == {
        "rainfall_amount_30min": [30.0],
        "region_rainfall_amount_30min": [30.0],
        "region_rainfall_flux": leads,
    }


def test_areas_that_are_others_now_are_a_gap_and_the_rest_is_scored(tmp_path: Path) -> None:
    domain, live = of(tmp_path, *AREAS)
    issue(domain, live, Members(count=2, amounts=AMOUNTS))
    live.append(FRAMES[5:])
    assert domain.areas is not None
    written(domain.areas, AREAS[0], feature("b", box(5.6, 51.6, 6.0, 51.69)))
    other = f"{domain.areas}: these are other areas than those that were issued"
    gone = domain.model_copy(update={"areas": None})
    lacking = domain.model_copy(update={"areas": tmp_path / "nothing"})
    words = {other: domain, "the domain has no areas any more": gone}
    words[f"{tmp_path / 'nothing'}: No such file or directory"] = lacking
    for gap, changed in words.items():
        assert close(changed, live) == [(NEWEST.time, 0)]
        ledger = read_ledger(domain.out, kind=MEMBERS)
        of_areas = ledger[ledger["quantity"].str.startswith("region_")]
        assert (
            set(of_areas["gap"]) == {gap}
            and len(of_areas) == 12 + 2 + 1
            and (of_areas[PROBABILITY_SUMS] == 0).all(None)
        )
        rest = ledger[~ledger["quantity"].str.startswith("region_")]
        assert (rest["gap"] == "").all() and len(rest) == 3 * (2 + 1) * 2
        for kind in (LEDGER, PROBABILITIES, MEMBERS):
            ledger_file(domain.out, NEWEST.time, kind).unlink()
    written(domain.areas, *AREAS, somebody="else")  # what isn't of the areas may change
    close(domain, live)
    assert (read_ledger(domain.out, kind=MEMBERS)["gap"] == "").all()
