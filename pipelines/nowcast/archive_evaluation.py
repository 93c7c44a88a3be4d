"""Score registered models and baselines on any radar data, without training: the command ``scs evaluate``."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.common.checkpoints import unfinished
from pipelines.common.errors import UserError, in_short
from pipelines.common.executor import Executor, open_executor
from pipelines.common.provenance import code_sha256, fingerprint
from pipelines.common.workers import guarded
from pipelines.nowcast.compare import write_comparison
from pipelines.nowcast.evaluate import FORECAST
from pipelines.nowcast.events import window_starts
from pipelines.nowcast.hindcast import examples_of, score_methods
from pipelines.nowcast.methods import climatology
from pipelines.nowcast.methods.extrapolation import MOTION_FRAMES
from pipelines.nowcast.methods.interface import ForecasterFactory, baseline, factory_from
from pipelines.nowcast.registered_model import folder_of, load
from pipelines.nowcast.scores import by_field
from pipelines.params.nowcast import BASELINES, Index
from pipelines.params.read import Params
from pipelines.radar.cadence import open_frames_at
from pipelines.radar.clock import usual_step
from pipelines.radar.decoding import is_store_of_frames
from pipelines.radar.ingest import ingest_radar
from pipelines.radar.quality_table import tables_of


class Method(NamedTuple):
    """A method to score: its name in the table, what says which it is, its factory, and the frames that it wants."""

    name: str
    identity: str
    make: ForecasterFactory
    inputs: int


def load_method(model: str, params: Params) -> Method:
    """Return a baseline by name, or a model by MLflow URI or folder; raises UserError if there is no such model."""
    if model in BASELINES:
        make = baseline(model, params.evaluate, params.index.rates, Path("data") / climatology.FILE)
        return Method(model, model, make, MOTION_FRAMES)
    loaded = load(model, params.evaluate.device)
    if folder := folder_of(model):
        name = folder.absolute().name
    else:
        name = loaded.method if loaded.method in BASELINES else f"{loaded.method} v{loaded.version or 'none'}"
    description = loaded.description
    return Method(name, loaded.sha256 or model, factory_from(loaded.forecaster, description), description.inputs)


def runs_of(time: NDArray[np.datetime64], longest_hours: float) -> NDArray[np.int64]:
    """Return the number of each frame's event: frames without a gap, of at most ``longest_hours``.

    Unlike the index's events these may be dry: who scores a model on an archive wants false alarms counted.
    """
    after_gap = np.diff(time) != np.timedelta64(usual_step(time), "s")
    run = np.concatenate([[0], after_gap.cumsum()])
    since = pd.Series(time).groupby(run).transform(lambda of_run: of_run - of_run.min())
    piece = (since // pd.Timedelta(hours=longest_hours)).to_numpy()
    return pd.DataFrame({"run": run, "piece": piece}).groupby(["run", "piece"]).ngroup().to_numpy()


def all_times(store: Path, index: Index) -> pd.DataFrame:
    """Return the times to forecast from, ``index.time_stride`` frames apart, as `forecast_times` does.

    Raises
    ------
    UserError
        If no run of frames is long enough.
    """
    time = open_frames_at(store, index.step_s)["time"].to_numpy()
    event = runs_of(time, index.max_event_hours)
    starts = window_starts(time, event, index)
    if starts.size == 0:
        raise UserError(
            f"no {index.inputs + index.leads} frames of {usual_step(time)} s in a row, which a forecast and its score "
            f"want; it has {time.size} frames"
        )
    return pd.DataFrame({"store": str(store), "event": event[starts], "t0": starts})[FORECAST]


def evaluate_source(models: Sequence[str], source: Path, out: Path, *, minutes: int, params: Params) -> list[Path]:
    """Score ``models`` on all of ``source``; write the table and pictures, and return the files, the Markdown first.

    What is missing and why, such as a model of other steps than the data's, is said under the table. Interrupted, the
    same command goes on where it was.

    Parameters
    ----------
    models : sequence of str
        See :func:`load_method`.
    source : Path
        A store of frames, or what `pipelines.radar.ingest` reads.
    out : Path
        NAME.json.
    minutes : int
        The longest lead time.

    Raises
    ------
    UserError
        If there is no such model or source, nothing to forecast, or no method that can.
    """
    if out.suffix != ".json":
        raise UserError(f"{out}: the table is JSON, with Markdown beside it: name it NAME.json")
    if not source.exists():
        raise UserError(f"{source}: no such folder or store")
    methods = [load_method(model, params) for model in models]
    factories = {method.name: method.make for method in methods}
    if len(factories) < len(methods):
        raise UserError(f"--model: {len(methods)} models, and only {len(factories)} names: {', '.join(factories)}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out}: {in_short(error)}") from None
    settings = {
        "methods": {method.name: method.identity for method in methods},
        "out": str(out.resolve()),
        "minutes": minutes,
        "code": code_sha256("pipelines.nowcast.archive_evaluation"),
        "params": params.model_dump(include={"index", "evaluate", "ingest_radar"}),
    }
    with (
        unfinished("evaluate-source", settings, fingerprint(source)) as work,
        open_executor(**params.executor.model_dump()) as executor,
    ):
        store, bad = _store_of(source, work, params, executor)
        leads = minutes * 60 // usual_step(open_frames_at(store, params.index.step_s)["time"].to_numpy())
        if leads < 1:
            raise UserError(f"{source}: its steps are longer than {minutes} minutes")
        index = params.index.model_copy(
            update={
                "inputs": max(params.index.inputs, *(method.inputs for method in methods)),
                "leads": leads,
                "time_stride": params.evaluate.time_stride,
            }
        )
        try:
            times = all_times(store, index)
        except UserError as error:
            raise UserError(f"{source}: {error}") from None
        scored, probabilities, members, refused = score_methods(
            factories, times, work, index=index, params=params.evaluate, executor=executor
        )
        tables = {label: rows for name, sums in scored.items() for label, rows in by_field(name, sums).items()}
        notes = [f"{name} has no scores: {words.removeprefix(f'{store}: ')}." for name, words in refused.items()]
        if bad:
            notes.append(f"{bad} of the files could not be used: `scs ingest` says why.")
        if not tables:
            raise UserError(f"{source}: no method can forecast it: {' '.join(notes)}")
        examples = {name: examples_of(factories[name], tables[name], index=index) for name in scored}
        return write_comparison(
            tables, examples, out, index=index, probabilities=probabilities, members=members, notes=notes
        )


def _store_of(source: Path, work: Path, params: Params, executor: Executor) -> tuple[Path, int]:
    """Return the store of frames that ``source`` is, or one made of it; and how many files are of no use."""
    if guarded(is_store_of_frames, source, limits=params.ingest_radar.limits):
        return source, 0
    store = work / "radar.zarr"
    return store, ingest_radar(source, store, *tables_of(store), params.ingest_radar, executor=executor)
