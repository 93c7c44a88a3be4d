"""Verification of issued forecasts: each is scored once, against persistence and extrapolation of the same cycle.

A cycle is closed as soon as all its valid times are observed, or `WAIT` after the last of them; a valid time without a
frame is then a gap, and stays one. The baselines are made anew from the frames that the forecast's attributes name,
and all three are scored on the same pixels: those observed at the valid time and known to each of them.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from pipelines.errors import UserError
from pipelines.forecasters import Rain, extrapolation, persistence
from pipelines.frames import grid_of
from pipelines.ledger import ledger_file
from pipelines.product import NETCDF, stamp
from pipelines.spatial import pixel_metres, power_columns
from pipelines.verification import SUMS, mean_of, score_forecast, scores_of

WAIT = np.timedelta64(3, "h")  # after the last valid time; what isn't observed by then is a gap
GIVE_UP = np.timedelta64(1, "D")  # after the reference time of a forecast that can't be read
ISSUED, FORECASTERS = "issued", ("issued", "extrapolation", "persistence")
MODEL = ["model_name", "model_version", "method"]
SHOWN = ["csi", "pod", "far", "bias", "fss_8km", "mae"]
CYCLES = 6  # closed cycles of a model before its skill is told of in an alarm


def published_times(out: Path) -> list[np.datetime64]:
    """List the reference times of the forecasts in ``out``, in order."""
    names = sorted(path.name for path in out.glob("*Z") if re.fullmatch(r"\d{8}T\d{6}Z", path.name))
    return [np.datetime64(pd.to_datetime(name, format="%Y%m%dT%H%M%SZ"), "s") for name in names]


def unverified(out: Path) -> list[np.datetime64]:
    """List the reference times of the forecasts in ``out`` that aren't in its ledger yet, in order."""
    return [reference for reference in published_times(out) if not ledger_file(out, reference).exists()]


@dataclass(frozen=True)
class Issued:
    """A published forecast as verification needs it.

    Parameters
    ----------
    rain_rate : ndarray of shape (leads, H, W), mm/h
    valid : ndarray of shape (leads,)
        Valid times, UTC to the second.
    minutes : ndarray of shape (leads,)
        Lead times.
    inputs : ndarray
        Times of the frames that it was made from, oldest first.
    pixel_m : float
    said : dict
        Its attributes.
    """

    rain_rate: Rain
    valid: NDArray[np.datetime64]
    minutes: NDArray[np.float64]
    inputs: NDArray[np.datetime64]
    pixel_m: float
    said: dict[str, Any]


def read_issued(folder: Path) -> Issued:
    """Read the forecast in a cycle's folder.

    Raises
    ------
    UserError
        If it can't be read.
    """
    try:
        with xr.open_dataset(folder / NETCDF, decode_timedelta=False) as dataset:
            return Issued(
                dataset["rainfall_flux"].to_numpy(),
                dataset["time"].to_numpy().astype("datetime64[s]"),
                dataset["lead_time"].to_numpy() / 60,
                np.array([one["time"] for one in json.loads(dataset.attrs["input_frames"])], "datetime64[s]"),
                pixel_metres(grid_of(dataset)),
                dict(dataset.attrs),
            )
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{folder / NETCDF}: can't be read: {' '.join(str(error).split())[:200]}") from None


def score_cycle(
    out: Path,
    domain: str,
    reference: np.datetime64,
    stored: xr.Dataset,
    thresholds: Sequence[float],
    now: np.datetime64,
) -> pd.DataFrame | None:
    """Score a cycle, as rows of the ledger; None while it is open.

    Parameters
    ----------
    out : Path
        The domain's folder of forecasts.
    domain : str
    reference : numpy.datetime64
    stored : Dataset
        The live store, see :meth:`pipelines.live.LiveStore.open`.
    thresholds : sequence of float
        mm/h.
    now : numpy.datetime64
        UTC.

    Raises
    ------
    UserError
        If the published file can't be read.
    """
    try:
        issued = read_issued(out / stamp(reference))
    except UserError as error:
        if now < reference + GIVE_UP:
            raise
        lost = {"minutes": np.nan, "threshold": np.nan, "forecaster": ISSUED, "gap": str(error), "fallback": False}
        return _complete(pd.DataFrame([lost | dict.fromkeys(MODEL, "")]), domain, reference, now)
    times = stored["time"].to_numpy().astype("datetime64[s]")
    seen = np.isin(issued.valid, times)
    if not seen.all() and now < issued.valid[-1] + WAIT:
        return None
    gaps = np.where(seen, "", "no frame of this time")
    inputs = issued.inputs[np.isin(issued.inputs, times)]
    if not inputs.size or inputs[-1] != issued.inputs[-1]:
        gaps[:] = "the frames that it was made from are gone from the live store"
    tables = []
    if (gaps == "").any():
        rain = stored["rainfall_flux"]
        counted = gaps == ""
        observed = rain.sel(time=issued.valid[counted]).to_numpy()
        newest = rain.sel(time=inputs).to_numpy()
        of_lead: dict[str, Rain] = {
            ISSUED: issued.rain_rate[counted],
            "extrapolation": extrapolation(newest, gaps.size)[counted],
            "persistence": persistence(newest, gaps.size)[counted],
        }
        mask = np.isfinite(observed) & np.all([np.isfinite(one) for one in of_lead.values()], axis=0)
        for name in FORECASTERS:
            minutes = issued.minutes[counted]
            one = score_forecast(of_lead[name], observed, mask, thresholds, pixel_m=issued.pixel_m, minutes=minutes)
            tables.append(one.assign(forecaster=name, gap=""))
    for name in FORECASTERS if (gaps != "").any() else ():
        lost = pd.DataFrame({"minutes": issued.minutes, "gap": gaps, "forecaster": name})[gaps != ""]
        tables.append(lost.merge(pd.DataFrame({"threshold": np.asarray(thresholds, float)}), how="cross"))
    made_by = {name: str(issued.said[name]) for name in MODEL}
    fallback = issued.said.get("fallback", "none") != "none"
    table = pd.concat(tables, ignore_index=True).assign(**made_by, fallback=fallback)
    return _complete(table, domain, reference, now)


def _complete(table: pd.DataFrame, domain: str, reference: np.datetime64, now: np.datetime64) -> pd.DataFrame:
    """Give all cycles' tables the same columns, with sums of 0 where nothing was counted."""
    reference = reference.astype("datetime64[ns]")
    names = [*SUMS, *power_columns()]
    sums = table.reindex(columns=names).astype(float).fillna(dict.fromkeys(SUMS, 0.0))
    return pd.concat([table.drop(columns=names, errors="ignore"), sums], axis=1).assign(
        domain=domain,
        reference_time=reference,
        valid_time=reference + pd.to_timedelta(table["minutes"], unit="min"),
        scored=now.astype("datetime64[ns]"),
    )


def skill(ledger: pd.DataFrame) -> pd.DataFrame:
    """Scores of each model version and of the baselines on the same cycles.

    Parameters
    ----------
    ledger : DataFrame
        From :func:`pipelines.ledger.read_ledger`.

    Returns
    -------
    DataFrame
        Index (model_name, model_version, method, forecaster); columns cycles, and the columns `SHOWN` of
        :func:`pipelines.verification.scores_of`: pooled over cycles, then the mean over those thresholds and lead times
        at which rain was observed. What was issued as a fallback is no model's.
    """
    rows = {}
    if not ledger.empty:
        counted = ledger[(ledger["gap"] == "") & ~ledger["fallback"]]
        for key, of_model in counted.groupby([*MODEL, "forecaster"]):
            scores = scores_of(of_model, ["threshold", "minutes"])
            cycles = of_model["reference_time"].nunique()
            rows[key] = {"cycles": cycles} | {name: mean_of(scores, name) for name in SHOWN}
    index = pd.MultiIndex.from_tuples(rows, names=[*MODEL, "forecaster"])
    return pd.DataFrame(list(rows.values()), index=index, columns=["cycles", *SHOWN])


def headlines(ledger: pd.DataFrame, model: tuple[str, str, str]) -> dict[str, float]:
    """Scores of one model's cycles in a ledger by name, as MLflow's metrics: such as ``issued_csi``, and ``cycles``."""
    of_model = skill(ledger).loc[model]
    scores = {f"{name}_{score}": float(of_model.loc[name, score]) for name in of_model.index for score in SHOWN}
    return scores | {"cycles": float(of_model["cycles"].max())}


def below_extrapolation(ledger: pd.DataFrame) -> str | None:
    """Say by how much the newest model version in the ledger is below extrapolation in mean CSI; None if it isn't.

    None too for a model of less than `CYCLES` cycles, and where no rain was observed.
    """
    table = skill(ledger)
    if table.empty:
        return None
    own = ledger[(ledger["gap"] == "") & ~ledger["fallback"]]
    newest = own.loc[own["reference_time"].idxmax(), MODEL]
    csi = table.loc[tuple(newest), "csi"]
    cycles = int(table.loc[(*newest, ISSUED), "cycles"])
    if cycles < CYCLES or not csi[ISSUED] < csi["extrapolation"]:
        return None
    name, version, method = newest
    return (
        f"{name} version {version} ({method}): mean CSI {csi[ISSUED]:.4f} over {cycles} cycles, below extrapolation's "
        f"{csi['extrapolation']:.4f}"
    )


def silent_since(out: Path, now: np.datetime64, minutes: int | None) -> str | None:
    """Say for how long no forecast has been published, if for more than ``minutes``; None if not."""
    if minutes is None:
        return None
    published = published_times(out)
    if not published:
        return f"{out}: no forecast has been published yet"
    silence = (now - published[-1]) // np.timedelta64(60, "s")
    if silence <= minutes:
        return None
    return f"{out}: the newest forecast is of {published[-1]} UTC, {silence} minutes ago, and {minutes} are allowed"
