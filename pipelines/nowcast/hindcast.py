"""Forecasts of the past by several methods, scored as they are made."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from pipelines.common.errors import UserError
from pipelines.common.executor import LOCAL, Executor
from pipelines.common.files import atomic_path
from pipelines.common.progress import track
from pipelines.common.provenance import fingerprint
from pipelines.nowcast.member_scores import MemberScores
from pipelines.nowcast.methods import lagrangian
from pipelines.nowcast.methods.distribution import Distribution, certain, distribution_of
from pipelines.nowcast.methods.extrapolation import extrapolation
from pipelines.nowcast.methods.interface import ForecasterFactory
from pipelines.nowcast.scores import wettest
from pipelines.params.nowcast import Evaluate, Index
from pipelines.radar.cadence import frames_once, open_frames_at
from pipelines.radar.cf_grid import grid_of
from pipelines.radar.clock import usual_step
from pipelines.radar.frame import Rain
from pipelines.radar.grid import pixel_metres
from pipelines.radar.lead_times import few_leads
from pipelines.verification.images import image_sums
from pipelines.verification.probabilities import score_probabilities
from pipelines.verification.scoring import score_forecast

KINDS = ("fields", "probabilities", "members")  # of tables; the last where members are scored


class Scored(NamedTuple):
    """What methods got right, by the method's name.

    Parameters
    ----------
    fields : dict of str to DataFrame
        The sums of :func:`pipelines.verification.scoring.score_forecast`, and where ``evaluate.images`` asks for them
        those of :func:`pipelines.verification.images.image_sums`, with the columns store, event, t0, time (of
        the newest observed frame, UTC), field (its kind; a method's first is the one that it forecasts when it is
        called) and fell_back (extrapolation stood in for it).
    probabilities : dict of str to DataFrame
        The sums of :func:`pipelines.verification.probabilities.score_probabilities` of the same forecasts at
        ``index.rates``, with the columns store, event, t0, time and fell_back.
    members : dict of str to DataFrame
        Those of :class:`pipelines.nowcast.member_scores.MemberScores` with the same columns, of methods that have
        members; none unless ``evaluate.members`` asks for them.
    refused : dict of str to str
        Why a method has no tables, or none of a store: its steps aren't the store's, it wants more frames, says nothing
        about a pixel that counts, or its probabilities are no distribution.
    """

    fields: dict[str, pd.DataFrame]
    probabilities: dict[str, pd.DataFrame]
    members: dict[str, pd.DataFrame]
    refused: dict[str, str]


def score_methods(
    factories: Mapping[str, ForecasterFactory],
    times: pd.DataFrame,
    checkpoints: Path,
    *,
    index: Index,
    params: Evaluate,
    executor: Executor = LOCAL,
) -> Scored:
    """Score methods on the whole grid from every one of ``times``; interrupted, it goes on where it was.

    Parameters
    ----------
    factories : mapping of str to ForecasterFactory
        The methods by name.
    times : DataFrame
        Columns store, event and t0, the first of ``index.inputs`` observed frames, which ``index.leads`` to forecast
        follow at the store's own step.
    checkpoints : Path
        Folder of what was scored so far, a file of each kind for each time: of the same methods, times and parameters.
    executor : Executor
        Forecasts and scores, a time a task.
    """
    kinds = KINDS if params.members else KINDS[:2]
    failures = checkpoints / "failed.parquet"
    failed: dict[str, str] = dict(_kept(failures).to_numpy())
    refused: dict[str, str] = {}
    parts: list[list[pd.DataFrame]] = []
    shared = executor.share(factories)
    for number, (store, of_store) in enumerate(times.groupby("store", sort=False)):
        frames = open_frames_at(Path(str(store)), index.step_s)
        clock = frames["time"].to_numpy()
        pixel_m, step_s = pixel_metres(grid_of(frames)), usual_step(clock)
        methods = []
        for name, make in factories.items():
            try:
                make(pixel_m, step_s)  # it refuses here; who scores a time makes its own
                methods.append(name)
            except UserError as error:
                refused[name] = f"{store}: {error}"
        files = {
            row.t0: [checkpoints / f"{number}-{row.t0}.{kind}.parquet" for kind in kinds]
            for row in of_store.itertuples()
        }
        wanted = [row for row in of_store.itertuples() if not all(map(_is_kept, files[row.t0]))]
        path = Path(str(store)).absolute()
        state = fingerprint(path)
        tasks = (
            (shared, able, path, state, row.t0, index, params)
            for row in wanted
            if (able := [name for name in methods if name not in failed])
        )
        results = executor.map(score_time, tasks)
        for row in track(wanted, f"evaluate {', '.join(methods)}"):
            if (result := next(results, None)) is None:  # no method is left
                break
            sums, unable = result
            unable = {name: f"{store}: from frame {row.t0}: {words}" for name, words in unable.items()}
            if unable.keys() - failed.keys():
                failed = unable | failed
                with atomic_path(failures) as temporary:
                    pd.DataFrame(failed.items(), columns=["method", "words"]).to_parquet(temporary, index=False)
            about = {"store": store, "event": row.event, "t0": row.t0, "time": clock[row.t0 + index.inputs - 1]}
            for table, file in zip(sums, files[row.t0], strict=False):
                with atomic_path(file) as temporary:
                    table.assign(**about).to_parquet(temporary, index=False)
        parts += [
            [pd.read_parquet(file) for file in of_time] for of_time in files.values() if all(map(_is_kept, of_time))
        ]
    names = [name for name in factories if name not in failed]
    tables = [_by_method([of_time[kind] for of_time in parts], names) for kind in range(len(kinds))]
    fields, probabilities, members = [*tables, {}][:3]
    return Scored(fields, probabilities, members, refused | failed)


def _by_method(tables: Sequence[pd.DataFrame], names: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Return the rows of each of the methods ``names`` that has any."""
    table = pd.concat(tables) if tables else pd.DataFrame({"method": []})
    of_all = {str(name): of.drop(columns="method").reset_index(drop=True) for name, of in table.groupby("method")}
    return {name: of_all[name] for name in names if name in of_all}


def _is_kept(file: Path) -> bool:
    """Return whether there is a checkpoint of a time, undamaged."""
    try:
        return "store" in pq.read_schema(file).names
    except (OSError, ValueError):
        return False


def _kept(file: Path) -> pd.DataFrame:
    """Read a checkpoint; no rows where there is none, or a damaged one: it is made anew."""
    try:
        return pd.read_parquet(file)
    except (OSError, ValueError):
        return pd.DataFrame(columns=["method", "words"])


def score_time(
    factories: Mapping[str, ForecasterFactory],
    names: Sequence[str],
    store: Path,
    state: str,
    t0: int,
    index: Index,
    params: Evaluate,
) -> tuple[list[pd.DataFrame], dict[str, str]]:
    """Count what some methods' forecasts from one time of a store got right; say why some have none.

    Returns the sums of each of `KINDS`, with a column method, and the reasons.
    """
    frames = frames_once(store, state, index.step_s)
    pixel_m, step_s = pixel_metres(grid_of(frames)), usual_step(frames["time"].to_numpy())
    minutes = (np.arange(1, index.leads + 1) * step_s / 60).tolist()
    methods = {name: factories[name](pixel_m, step_s) for name in names}
    window = frames["rainfall_flux"][t0 : t0 + index.inputs + index.leads].to_numpy()
    seen, future = window[: index.inputs], window[index.inputs :]
    moved = extrapolation(seen, index.leads)
    # The same pixels for all methods, whichever are scored: seen at the valid time and at the newest observed one, and
    # where both motions, extrapolation's and the networks', know what comes from upstream.
    newest = np.repeat(seen[-1:], index.leads, axis=0)
    known = lagrangian.advect(newest, lagrangian.motion(seen))
    mask = np.isfinite(future) & np.isfinite(seen[-1]) & np.isfinite(moved) & np.isfinite(known)
    sums: list[list[pd.DataFrame]] = [[] for _ in KINDS]
    unable = {}
    for name, forecaster in methods.items():
        members_of = (
            MemberScores(future, mask, moved, minutes, pixel_m, index=index, params=params) if params.members else None
        )
        try:
            if forecaster is extrapolation:
                distribution = Distribution(certain(moved, index.rates), {"field": moved})
            elif members_of:
                distribution = members_of.forecast(forecaster, seen)
            else:
                distribution = distribution_of(forecaster, seen, index.leads, index.rates)
            rain = dict(distribution.fields)  # some are made when they are looked at
            if not all(np.isfinite(field[mask]).all() for field in rain.values()):
                raise UserError("no forecast for some pixels that the radar sees")
            exceedance, members = distribution.exceedance, distribution.members
            of_method = score_probabilities(exceedance, future, mask, index.rates, minutes=minutes, members=members)
        except UserError as error:
            unable[name] = str(error)
            continue
        about = {"method": name, "fell_back": getattr(forecaster, "fell_back", False)}
        for kind, field in rain.items():
            of_field = score_forecast(field, future, mask, params.thresholds, pixel_m=pixel_m, minutes=minutes)
            if params.images:
                of_field = of_field.merge(image_sums(field, future, mask, minutes), on="minutes")
            sums[0].append(of_field.assign(**about, field=kind))
        sums[1].append(of_method.assign(**about))
        if members_of:
            sums[2].append(members_of.table().assign(**about))
        del distribution, exceedance, rain, members_of  # half a gigabyte on a national grid
    return [pd.concat(tables) if tables else pd.DataFrame({"method": []}) for tables in sums], unable


def examples_of(make: ForecasterFactory, sums: pd.DataFrame, *, index: Index) -> dict[tuple[str, int], Rain]:
    """Return a method's forecast of the wettest time in each store that it has scores of, at the lead times to draw.

    A comparison draws one of them, the wettest of the forecasts that all methods have.
    """
    examples = {}
    for _, of_store in sums.groupby("store", sort=False):
        store, t0 = wettest(of_store)
        frames = open_frames_at(Path(store), index.step_s)
        seen = frames["rainfall_flux"][t0 : t0 + index.inputs].to_numpy()
        forecaster = make(pixel_metres(grid_of(frames)), usual_step(frames["time"].to_numpy()))
        examples[store, t0] = forecaster(seen, index.leads)[few_leads(index.leads)]
    return examples
