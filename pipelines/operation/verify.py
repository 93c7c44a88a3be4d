"""Verification of issued forecasts: each is scored once, against persistence and extrapolation of the same cycle.

A cycle is closed as soon as all its valid times are observed, or `WAIT` after the last of them; a valid time without a
frame is then a gap, and stays one. The baselines are made anew from the frames that the forecast's attributes name,
and all three are scored on the same pixels: those observed at the valid time and known to each of them. So are the
probabilities of an issued one that has some, beside those of the baselines (0 and 1) and of its model's climatology.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from pipelines.common.errors import UserError
from pipelines.nowcast.methods.distribution import certain
from pipelines.nowcast.methods.extrapolation import MOTION_FRAMES, extrapolation, persistence
from pipelines.operation.ledger import COLUMNS, append, ledger_file
from pipelines.operation.products.dataset import NETCDF, stamp
from pipelines.operation.products.published import (
    Probabilities,
    PublishedForecast,
    published_times,
    read_probabilities,
    read_published,
)
from pipelines.params.operation import Domain
from pipelines.radar.frame import Rain
from pipelines.verification.probabilities import PROBABILITY_SUMS, score_probabilities
from pipelines.verification.scoring import SUMS, score_forecast
from pipelines.verification.spatial import power_columns

WAIT = np.timedelta64(3, "h")  # after the last valid time; what isn't observed by then is a gap
GIVE_UP = np.timedelta64(1, "D")  # after the reference time of a forecast that can't be read
ISSUED, FORECASTERS = "issued", ("issued", "extrapolation", "persistence")
CLIMATOLOGY = "climatology"  # a forecaster more, of probabilities
MODEL = ["model_name", "model_version", "method"]
NOT_THERE, BLIND = "no frame of this time", "the frame of this time has no valid pixel"
INPUTS_GONE = "the frame that it was made from is gone from the live store"

Columns = tuple[list[str], list[str]]  # of a ledger: its sums, and what is NaN where there is none
OF_FIELDS: Columns = (SUMS, power_columns())
OF_PROBABILITIES: Columns = (PROBABILITY_SUMS, ["members"])


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
            append(domain.out, reference, *tables)
            table, _ = tables
            yield reference, table.loc[table["gap"] != "", "minutes"].nunique(dropna=False)


def score_cycle(
    domain: Domain, reference: np.datetime64, stored: xr.Dataset, thresholds: Sequence[float], now: np.datetime64
) -> tuple[pd.DataFrame, pd.DataFrame | None] | None:
    """Score a domain's published cycle, as rows of the ledger and of that of probabilities; None while it is open.

    Raises
    ------
    UserError
        If the published file can't be read, or what it has is no distribution, until `GIVE_UP` after its reference
        time.
    """
    try:
        issued = read_published(domain.out / stamp(reference))
        probabilities = read_probabilities(issued.folder) if issued.rates else None
        return _score_issued(domain, issued, probabilities, stored, thresholds, now)
    except UserError as error:
        if now < reference + GIVE_UP:
            raise
        lost = {"minutes": np.nan, "threshold": np.nan, "forecaster": ISSUED, "gap": str(error), "fallback": False}
        return _complete(pd.DataFrame([lost | dict.fromkeys(MODEL, "")]), OF_FIELDS, domain.name, reference, now), None


def _score_issued(
    domain: Domain,
    issued: PublishedForecast,
    probabilities: Probabilities | None,
    stored: xr.Dataset,
    thresholds: Sequence[float],
    now: np.datetime64,
) -> tuple[pd.DataFrame, pd.DataFrame | None] | None:
    """Score what was issued, as :func:`score_cycle` does; raises UserError if its probabilities are none."""
    times = stored["time"].to_numpy().astype("datetime64[s]")
    if not np.isin(issued.valid, times).all() and now < issued.valid[-1] + WAIT:
        return None
    gaps = np.where(np.isin(issued.valid, times), "", NOT_THERE).astype(object)
    inputs = _even_inputs(issued, times)
    if not inputs.size:
        gaps[:] = INPUTS_GONE
    rain = stored["rainfall_flux"]
    seen = rain.sel(time=issued.valid[gaps == ""]).to_numpy()
    blind = ~np.isfinite(seen).any(axis=(1, 2))
    gaps[np.flatnonzero(gaps == "")[blind]] = BLIND
    counted, observed = gaps == "", seen[~blind]
    tables: list[pd.DataFrame] = []
    of_probabilities: list[pd.DataFrame] = []
    if counted.any():
        newest = rain.sel(time=inputs).to_numpy()
        # Of one frame no motion is known.
        moved = extrapolation if inputs.size > 1 else persistence
        of_lead: dict[str, Rain] = {
            ISSUED: issued.rain_rate[counted],
            "extrapolation": moved(newest, gaps.size)[counted],
            "persistence": persistence(newest, gaps.size)[counted],
        }
        mask = np.isfinite(observed) & np.all([np.isfinite(one) for one in of_lead.values()], axis=0)
        for name in FORECASTERS:
            minutes = issued.minutes[counted]
            one = score_forecast(of_lead[name], observed, mask, thresholds, pixel_m=issued.pixel_m, minutes=minutes)
            tables.append(one.assign(forecaster=name, gap=""))
        if probabilities is not None:
            of_probabilities = list(_score_probabilities(issued, probabilities, counted, of_lead, observed, mask))
    for name in FORECASTERS if not counted.all() else ():
        lost_leads = pd.DataFrame({"minutes": issued.minutes, "gap": gaps, "forecaster": name})[~counted]
        tables.append(lost_leads.merge(pd.DataFrame({"threshold": np.asarray(thresholds, float)}), how="cross"))
    attrs = issued.attributes.to_attrs()
    made_by = {name: attrs[name] for name in MODEL}

    def complete(parts: list[pd.DataFrame], columns: Columns) -> pd.DataFrame:
        table = pd.concat(parts, ignore_index=True).assign(**made_by, fallback=issued.attributes.fallback is not None)
        return _complete(table, columns, domain.name, issued.reference, now)

    return complete(tables, OF_FIELDS), complete(of_probabilities, OF_PROBABILITIES) if of_probabilities else None


def _score_probabilities(
    issued: PublishedForecast,
    probabilities: Probabilities,
    counted: NDArray[np.bool_],
    fields: Mapping[str, Rain],
    observed: Rain,
    mask: NDArray[np.bool_],
) -> Iterator[pd.DataFrame]:
    """Yield what each forecaster's probabilities got right, on the mask of rain, which is also theirs.

    Lead time by lead time: on a large grid all together take gigabytes.
    """
    for number, lead in enumerate(np.flatnonzero(counted)):
        exceedance = {name: certain(field[[number]], issued.rates) for name, field in fields.items()}
        exceedance[ISSUED] = probabilities.exceedance[[lead]]
        if (climatology := probabilities.climatology) is not None:
            exceedance[CLIMATOLOGY] = np.broadcast_to(climatology[:, None, None], exceedance[ISSUED].shape)
        for name, one in exceedance.items():
            minutes = [float(issued.minutes[lead])]
            try:
                sums = score_probabilities(one, observed[[number]], mask[[number]], issued.rates, minutes=minutes)
            except UserError as error:
                raise UserError(f"{issued.folder / NETCDF}: {error}") from None
            yield sums.assign(forecaster=name, gap="")


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
