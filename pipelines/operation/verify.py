"""Verification of issued forecasts: each is scored once, against persistence and extrapolation of the same cycle.

A cycle is closed as soon as all its valid times are observed, or `WAIT` after the last of them; a valid time without a
frame is then a gap, and stays one. The baselines are made anew from the frames that the forecast's attributes name,
and all three are scored on the same pixels: those observed at the valid time and known to each of them. What an issued
one says of probabilities is scored too, by `verify_probabilities`, and the members that it kept by `verify_ensemble`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from pipelines.common.errors import UserError
from pipelines.nowcast.methods.extrapolation import MOTION_FRAMES, extrapolation, persistence
from pipelines.operation.ledger import COLUMNS, ENSEMBLES, MEMBERS, PROBABILITIES, append, ledger_file
from pipelines.operation.products.dataset import RATE
from pipelines.operation.products.names import stamp
from pipelines.operation.products.published import PublishedForecast, published_times, read_published
from pipelines.operation.verify_ensemble import RANKS, score_issued_members
from pipelines.operation.verify_probabilities import ISSUED, QUANTITY, Cycle, score_issued_probabilities
from pipelines.params.operation import Domain
from pipelines.radar.cf_grid import grid_of
from pipelines.radar.frame import Rain
from pipelines.verification.ensembles import ENSEMBLE_SUMS
from pipelines.verification.probabilities import PROBABILITY_SUMS
from pipelines.verification.scoring import SUMS, score_forecast
from pipelines.verification.spatial import power_columns

WAIT = np.timedelta64(3, "h")  # after the last valid time; what isn't observed by then is a gap
GIVE_UP = np.timedelta64(1, "D")  # after the reference time of a forecast that can't be read
FORECASTERS = (ISSUED, "extrapolation", "persistence")
MODEL = ["model_name", "model_version", "method"]
NOT_THERE, BLIND = "no frame of this time", "the frame of this time has no valid pixel"
INPUTS_GONE = "the frame that it was made from is gone from the live store"

Columns = tuple[list[str], list[str]]  # of a ledger: its sums, and what is NaN where there is none
OF_FIELDS: Columns = (SUMS, power_columns())
OF_PROBABILITIES: Columns = (PROBABILITY_SUMS, ["members"])
OF_MEMBERS: Columns = (PROBABILITY_SUMS, ["members", QUANTITY])
OF_ENSEMBLES: Columns = (ENSEMBLE_SUMS, ["members", RANKS])
Scored = tuple[pd.DataFrame, dict[str, pd.DataFrame]]  # rows of the ledger, and of those beside it by kind


def unverified(out: Path) -> list[np.datetime64]:
    """List the reference times of the forecasts in ``out`` that aren't in its ledger yet, in order."""
    return [reference for reference in published_times(out) if not ledger_file(out, reference).exists()]


def close_cycles(
    domain: Domain, stored: xr.Dataset, thresholds: Sequence[float], now: np.datetime64, problems: list[str]
) -> Iterator[tuple[np.datetime64, int]]:
    """Score the cycles that can be closed, each into its file of the ledger as soon as it is scored.

    Parameters
    ----------
    stored : Dataset
        The live store, see :meth:`pipelines.operation.live_store.LiveStore.open`.
    thresholds : sequence of float
        mm/h.
    now : numpy.datetime64
        UTC.
    problems : list of str
        Gets a line for each published forecast that can't be read.

    Yields
    ------
    reference, gaps
        Of a cycle that is closed now, and at how many of its lead times nothing could be counted.
    """
    for reference in unverified(domain.out):
        try:
            tables = score_cycle(domain, reference, stored, thresholds, now)
        except UserError as error:
            problems.append(str(error))
            continue
        if tables is not None:
            table, beside = tables
            append(domain.out, reference, table, beside)
            yield reference, table.loc[table["gap"] != "", "minutes"].nunique(dropna=False)


def score_cycle(
    domain: Domain, reference: np.datetime64, stored: xr.Dataset, thresholds: Sequence[float], now: np.datetime64
) -> Scored | None:
    """Score a domain's published cycle, as rows of its ledgers; None while it is open.

    Raises
    ------
    UserError
        If the published file can't be read, or what it has is no distribution, until `GIVE_UP` after its reference
        time.
    """
    try:
        return _score_issued(domain, read_published(domain.out / stamp(reference)), stored, thresholds, now)
    except UserError as error:
        if now < reference + GIVE_UP:
            raise
        lost = {"minutes": np.nan, "threshold": np.nan, "forecaster": ISSUED, "gap": str(error), "fallback": False}
        return _complete(pd.DataFrame([lost | dict.fromkeys(MODEL, "")]), OF_FIELDS, domain.name, reference, now), {}


def _score_issued(
    domain: Domain, issued: PublishedForecast, stored: xr.Dataset, thresholds: Sequence[float], now: np.datetime64
) -> Scored | None:
    """Score what was issued, as :func:`score_cycle` does; raises UserError if its probabilities are none."""
    times = stored["time"].to_numpy().astype("datetime64[s]")
    if not np.isin(issued.valid, times).all() and now < issued.valid[-1] + WAIT:
        return None
    gaps = np.where(np.isin(issued.valid, times), "", NOT_THERE).astype(object)
    inputs = _even_inputs(issued, times)
    if not inputs.size:
        gaps[:] = INPUTS_GONE
    observed = np.full_like(issued.rain_rate, np.nan)
    rain, there = stored[RATE], gaps == ""
    observed[there] = rain.sel(time=issued.valid[there]).to_numpy()
    gaps[there & ~np.isfinite(observed).any(axis=(1, 2))] = BLIND
    counted = gaps == ""
    tables: list[pd.DataFrame] = []
    of_probabilities, of_ensemble = list[pd.DataFrame](), list[pd.DataFrame]()
    if counted.any():
        newest = rain.sel(time=inputs).to_numpy()
        # Of one frame no motion is known.
        moved = extrapolation if inputs.size > 1 else persistence
        fields: dict[str, Rain] = {
            ISSUED: issued.rain_rate,
            "extrapolation": moved(newest, gaps.size),
            "persistence": persistence(newest, gaps.size),
        }
        mask = np.isfinite(observed) & np.all([np.isfinite(one) for one in fields.values()], axis=0)
        minutes, pixel_m = issued.minutes[counted], issued.pixel_m
        for name in FORECASTERS:
            of_counted = fields[name][counted], observed[counted], mask[counted]
            one = score_forecast(*of_counted, thresholds, pixel_m=pixel_m, minutes=minutes)
            tables.append(one.assign(forecaster=name, gap=""))
        instants = stored["time"].attrs["time_is"] == "instant"
        cycle = Cycle(issued, fields, observed, mask, newest[-1], instants, grid_of(stored), domain.areas)
        of_probabilities = list(score_issued_probabilities(cycle))
        of_ensemble = list(score_issued_members(issued, observed, mask, thresholds))
    for name in FORECASTERS if not counted.all() else ():
        lost_leads = pd.DataFrame({"minutes": issued.minutes, "gap": gaps, "forecaster": name})[~counted]
        tables.append(lost_leads.merge(pd.DataFrame({"threshold": np.asarray(thresholds, float)}), how="cross"))
    attrs = issued.attributes.to_attrs()
    made_by = {name: attrs[name] for name in MODEL}

    def complete(parts: list[pd.DataFrame], columns: Columns) -> pd.DataFrame:
        table = pd.concat(parts, ignore_index=True).assign(**made_by, fallback=issued.attributes.fallback is not None)
        return _complete(table, columns, domain.name, issued.reference, now)

    of_rates = [part for part in of_probabilities if part[QUANTITY].eq(RATE).all()]
    of_members = [part for part in of_probabilities if not part[QUANTITY].eq(RATE).all()]
    beside = {PROBABILITIES: (of_rates, OF_PROBABILITIES), MEMBERS: (of_members, OF_MEMBERS)}
    beside[ENSEMBLES] = [one.assign(forecaster=ISSUED, gap="") for one in of_ensemble], OF_ENSEMBLES
    return complete(tables, OF_FIELDS), {kind: complete(*of) for kind, of in beside.items() if of[0]}


def _even_inputs(issued: PublishedForecast, times: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
    """Choose the frames that the baselines are made from: the newest that it named, as far as they are there in a row.

    Motion wants them evenly apart. Empty if the newest is gone.
    """
    step = issued.valid[0] - issued.reference
    wanted = issued.reference - np.arange(MOTION_FRAMES) * step
    there = np.isin(wanted, issued.inputs) & np.isin(wanted, times)
    return wanted[: int(np.append(there, False).argmin())][::-1]


def _complete(
    table: pd.DataFrame, columns: Columns, domain: str, reference: np.datetime64, now: np.datetime64
) -> pd.DataFrame:
    """Return a cycle's table with the columns that all have, and sums of 0 where nothing was counted."""
    reference, (sums, others) = reference.astype("datetime64[ns]"), columns
    table = table.assign(
        domain=domain,
        reference_time=reference,
        valid_time=reference + pd.to_timedelta(table["minutes"], unit="min"),
        scored=now.astype("datetime64[ns]"),
    ).reindex(columns=[*COLUMNS, *sums, *others])
    return table.astype(dict.fromkeys(sums, float)).fillna(dict.fromkeys(sums, 0.0))
