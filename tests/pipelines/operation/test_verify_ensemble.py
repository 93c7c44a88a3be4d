"""The members that an issued forecast kept, scored as issued: by hand, of cycles that differ, and how it is told."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from archive import moving_cells
from domains import domain_in
from issued_files import damage_pixels
from small_model import probabilistic

from pipelines.nowcast.methods.extrapolation import extrapolation
from pipelines.operation.forecast import forecast
from pipelines.operation.ledger import ENSEMBLES, LEDGER, read_ledger
from pipelines.operation.live_store import LiveStore
from pipelines.operation.products.names import NETCDF, stamp
from pipelines.operation.skill import ensemble_skill, headlines
from pipelines.operation.skill_table import skill_records, skill_table
from pipelines.operation.sources import of_store
from pipelines.operation.verify import close_cycles
from pipelines.params.operation import Domain, Members
from pipelines.radar.frame import DRY
from pipelines.verification.ensembles import ENSEMBLE_SUMS as SUMS

FRAMES = moving_cells("2024-06-01T12:00:00", 17)
NEWEST, THRESHOLDS = FRAMES[4].time, [0.5, 2.0]
MODEL = ("radar-nowcast", "7", "mixture")
LATER = np.datetime64("2024-06-01T18:00:00")


def issued(tmp_path: Path, members: Members | None) -> tuple[Domain, LiveStore, Path]:
    """A domain with a published forecast, whose frames after it haven't come."""
    domain = domain_in(tmp_path)
    live = LiveStore.of(domain)
    live.append(FRAMES[:5])
    source = of_store(live.open(), "live")
    given, _ = forecast(source, lambda: probabilistic([0.1, 1.0]), domain.policy, members=members)
    path = domain.out / stamp(NEWEST) / NETCDF
    path.parent.mkdir(parents=True)
    given.to_netcdf(path, engine="netcdf4")
    return domain, live, path


def closed(domain: Domain, live: LiveStore) -> list[str]:
    problems: list[str] = []
    list(close_cycles(domain, live.open(), THRESHOLDS, LATER, problems))
    return problems


def test_ranks_spread_and_error_are_those_of_the_published_members(tmp_path: Path) -> None:
    domain, live, path = issued(tmp_path, Members(count=5, keep=True))
    live.append(FRAMES[5:])
    assert not closed(domain, live)
    ledger = read_ledger(domain.out, kind=ENSEMBLES)
    assert len(ledger) == 12 * 2 and set(ledger["forecaster"]) == {"issued"} and set(ledger["members"]) == {5}
    with xr.open_dataset(path, decode_timedelta=False) as dataset:
        members = dataset["rainfall_flux_member"].to_numpy().astype(np.float64)
        field = dataset["rainfall_flux"].to_numpy()
    frames = live.open()["rainfall_flux"].to_numpy()
    known = (
        np.isfinite(frames[5:])
        & np.isfinite(extrapolation(frames[2:5], 12))
        & np.isfinite(frames[4])
        & np.isfinite(field)
    )
    errors, variances = [], []
    for lead, minutes in enumerate(range(5, 61, 5)):
        row = ledger[(ledger["minutes"] == minutes) & (ledger["threshold"] == 2.0)].iloc[0]
        came, said = frames[5 + lead][known[lead]], members[:, lead][:, known[lead]]
        came, said = np.where(came < DRY, 0, came), np.where(said < DRY, 0, said)
        assert row["pixels"] == came.size > 1000
        variances.append(said.var(axis=0, ddof=1).mean())
        errors.append(np.square(said.mean(axis=0) - came).mean())
        assert row["variance"] / row["pixels"] == pytest.approx(variances[-1], rel=1e-4)
        assert row["squared_error"] / row["pixels"] == pytest.approx(errors[-1], rel=1e-4)
        wet = (came > 0) | (said > 0).any(axis=0)
        assert sum(row["ranks"]) == wet.sum() > 0
        alone = wet & (said != came).all(axis=0)
        at_least = np.bincount((said < came).sum(axis=0)[alone], minlength=6)
        assert (row["ranks"] >= at_least).all(), "ties have a rank besides"
    scores = ensemble_skill(ledger).loc[MODEL].loc[5]
    by_hand = np.sqrt(6 / 5 * np.array(variances) / errors)
    np.testing.assert_allclose(scores["spread_error"], by_hand, rtol=1e-4)
    ranks = np.array(ledger[ledger["threshold"] == 2.0].sort_values("minutes")["ranks"].tolist())
    np.testing.assert_allclose(scores["outliers"], ranks[:, [0, 5]].sum(axis=1) / ranks.sum(axis=1) * 6 / 2)
    told = headlines(read_ledger(domain.out, kind=LEDGER), MODEL, ensembles=ledger)
    assert told["issued_spread_error_60min"] == pytest.approx(by_hand[-1], rel=1e-4)
    assert told["issued_spread_error"] == pytest.approx(by_hand.mean(), rel=1e-4)
    lines = [line for line in skill_table(domain.out, 30).splitlines() if "spread / error" in line]
    assert [line.split(" | ")[2] for line in lines] == ["5"] and f"{by_hand[-1]:.3f}" in lines[0]
    assert len(skill_records(domain.out, 30)["ensembles"]) == 12


def test_cycles_of_more_members_and_of_fewer_arent_mixed() -> None:
    def rows(hour: int, *ranks: int) -> pd.DataFrame:
        of = {"members": len(ranks) - 1, "ranks": [list(ranks)], "pixels": 10.0, "variance": 1.0, "squared_error": 1.0}
        named = dict(zip(("model_name", "model_version", "method"), MODEL, strict=True)) | {
            "gap": "",
            "fallback": False,
        }
        time = pd.Timestamp("2024-06-01") + pd.Timedelta(hours=hour)
        return pd.DataFrame(of | named | {"minutes": 30.0, "threshold": 1.0, "reference_time": time})

    table = pd.concat([rows(0, 2, 1, 1), rows(1, 0, 1, 1, 2), rows(2, 0, 4, 0)], ignore_index=True)
    sums = table.reindex(columns=[*table, *(name for name in SUMS if name not in table)], fill_value=0.0)
    scores = ensemble_skill(sums).loc[MODEL]
    assert scores["cycles"].to_dict() == {(2, 30.0): 2, (3, 30.0): 1}
    assert scores["outliers"].to_dict() == {(2, 30.0): 3 / 8 * 3 / 2, (3, 30.0): 2 / 4 * 4 / 2}


def test_members_that_arent_kept_have_no_rows(tmp_path: Path) -> None:
    for name, members in (("none", None), ("told", Members(count=3))):
        (tmp_path / name).mkdir()
        domain, live, _ = issued(tmp_path / name, members)
        live.append(FRAMES[5:])
        assert not closed(domain, live)
        assert read_ledger(domain.out, kind=ENSEMBLES).empty and ensemble_skill(pd.DataFrame()).empty
        assert "spread / error" not in skill_table(domain.out, 30)


def test_a_lead_time_without_a_frame_has_no_rows_and_the_others_have(tmp_path: Path) -> None:
    domain, live, _ = issued(tmp_path, Members(count=3, keep=True))
    live.append([frame for frame in FRAMES[5:] if frame is not FRAMES[12]])
    blind = FRAMES[12]
    live.append([replace(blind, rain_rate=np.full_like(blind.rain_rate, np.nan))])
    assert not closed(domain, live)
    leads = sorted(set(read_ledger(domain.out, kind=ENSEMBLES)["minutes"]))
    assert leads == [float(lead) for lead in range(5, 61, 5) if lead != 40]


def test_damaged_members_are_told_in_one_line(tmp_path: Path) -> None:
    domain, live, path = issued(tmp_path, Members(count=3, keep=True))
    live.append(FRAMES[5:])
    damage_pixels(path, "rainfall_flux_member")
    (problem,) = closed(domain, live)
    assert problem.startswith(f"{path}: can't be read: ")


def test_members_that_know_other_pixels_than_each_other_are_told_in_one_line(tmp_path: Path) -> None:
    domain, live, path = issued(tmp_path, Members(count=3, keep=True))
    live.append(FRAMES[5:])
    with xr.open_dataset(path, decode_timedelta=False) as dataset:
        given = dataset.load()
    given["rainfall_flux_member"][1] = np.nan
    given.to_netcdf(path, engine="netcdf4")
    (problem,) = closed(domain, live)
    assert problem == f"{path}: no forecast of a member for some pixels that the radar sees"
