"""Stage ``evaluate``: forecast the test events and count what came true."""

import json
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from pipelines.common.checkpoints import unfinished
from pipelines.common.errors import UserError
from pipelines.common.executor import LOCAL, Executor, open_executor
from pipelines.common.files import atomic_path, write_text
from pipelines.common.provenance import code_sha256, fingerprint, sha256
from pipelines.common.stage import run
from pipelines.nowcast.hindcast import examples_of, score_methods
from pipelines.nowcast.methods import climatology
from pipelines.nowcast.methods.extrapolation import Forecaster
from pipelines.nowcast.methods.interface import ForecasterFactory, factory
from pipelines.nowcast.scores import by_field, write_examples
from pipelines.params.nowcast import BASELINES, Evaluate, Index
from pipelines.params.read import read_params
from pipelines.radar.cadence import open_frames_at
from pipelines.verification.probabilities import probability_headline
from pipelines.verification.scoring import headline

FORECAST = ["store", "event", "t0"]  # what tells one forecast from another


def forecast_times(windows: Path, stride: int) -> pd.DataFrame:
    """Return the test windows' first frames, ``stride`` frames apart in each event: columns store, event, t0."""
    table = pd.read_parquet(windows, columns=FORECAST, filters=[("split", "==", "test")])
    test = table.drop_duplicates().sort_values(FORECAST)
    since_first = test["t0"] - test.groupby(["store", "event"])["t0"].transform("min")
    return test[since_first % stride == 0].reset_index(drop=True)


def forecast_seconds(forecaster: Forecaster, windows: Path, index: Index) -> tuple[float, tuple[int, ...]]:
    """Return the seconds of one forecast of the first test window's whole grid, and its shape (leads, H, W).

    The faster of two: the first one loads what it needs.
    """
    first = forecast_times(windows, 1).iloc[0]
    frames = open_frames_at(Path(first["store"]), index.step_s)
    seen = frames["rainfall_flux"][first["t0"] : first["t0"] + index.inputs].to_numpy()
    took = []
    for _ in range(2):
        began = time.perf_counter()
        shape = forecaster(seen, index.leads).shape
        took.append(time.perf_counter() - began)
    return min(took), shape


def unfinished_evaluation(
    name: str, model: str, windows: Path, *, index: Index, params: Evaluate
) -> AbstractContextManager[Path]:
    """Hold the folder where an evaluation keeps what it has, of ``model``: a baseline's name, or a model's SHA-256."""
    settings = {
        "model": model,
        "code": code_sha256("pipelines.nowcast.evaluate"),
        "evaluate": params.model_dump(),
        "index": index.model_dump(include={"step_s", "inputs", "leads", "rates"}),
    }
    stores = pd.read_parquet(windows, columns=["store"])["store"].unique()
    data = [sha256(windows), *(fingerprint(Path(store)) for store in sorted(stores))]
    return unfinished(f"evaluate-{name}", settings, " ".join(data))


def evaluate(
    make: ForecasterFactory,
    name: str,
    windows: Path,
    checkpoints: Path,
    *,
    index: Index,
    params: Evaluate,
    executor: Executor = LOCAL,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return one method's sums on the test windows, of fields, probabilities and members; see :func:`score_methods`.

    Those of members are empty for a method that has none, or where ``evaluate.members`` is null.

    A store of other steps than the method's is left out, and told of.

    Raises
    ------
    UserError
        If the method can't forecast from any store, or says nothing about a pixel that counts.
    """
    times = forecast_times(windows, params.time_stride)
    fields, probabilities, members, refused = score_methods(
        {name: make}, times, checkpoints, index=index, params=params, executor=executor
    )
    if name not in fields:
        raise UserError(f"{name}: {refused[name]}" if refused else f"{windows}: no test windows")
    for words in refused.values():
        print(f"{name}: left out: {words}")
    return fields[name], probabilities[name], members.get(name, pd.DataFrame())


def main(
    model: Annotated[str, typer.Argument(help="a baseline's name, or a trained model's folder")],
    windows: Path,
    scores: Path,
    probabilities: Path,
    members: Path,
    examples: Annotated[Path, typer.Argument(help="netCDF of the wettest forecast, for pictures")],
    metrics: Annotated[Path, typer.Argument(help="JSON of a few scores")],
) -> None:
    """Evaluate MODEL on the test events of WINDOWS: SCORES, PROBABILITIES, MEMBERS (all sums), EXAMPLES, METRICS."""
    params = read_params()
    name = Path(model).name
    make = factory(model, params.evaluate, params.index.rates, windows.with_name(climatology.FILE))
    identity = model if model in BASELINES else sha256(Path(model))
    index, of_scores = params.index, params.evaluate
    with (
        unfinished_evaluation(name, identity, windows, index=index, params=of_scores) as checkpoints,
        open_executor(**params.executor.model_dump()) as executor,
    ):
        tables = evaluate(make, name, windows, checkpoints, index=index, params=of_scores, executor=executor)
        for table, file in zip(tables, (scores, probabilities, members), strict=True):
            with atomic_path(file) as temporary:
                table.to_parquet(temporary, index=False)
        sums = by_field(name, tables[0])[name]
        write_examples(examples_of(make, sums, index=params.index), examples)
        write_text(metrics, json.dumps(headline(sums) | probability_headline(tables[1]), indent=1))


if __name__ == "__main__":
    run(main)
