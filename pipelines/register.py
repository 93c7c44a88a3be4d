"""Stage ``register``: make the registry agree with the models and their scores, and choose the champion.

It runs each time and changes only what differs: an empty registry is filled after `dvc pull`, a model that is there
already gets no second version. Extrapolation is version 1 and the first champion.
"""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from pipelines.cadence import usual_step
from pipelines.compare import read_scores
from pipelines.errors import UserError
from pipelines.evaluate import evaluate
from pipelines.frames import open_frames
from pipelines.params import Params, read_params
from pipelines.stage import run
from pipelines.tracking.history import log_comparison
from pipelines.tracking.registry import (
    Version,
    ensure_version,
    find_alias,
    load,
    set_alias,
)
from pipelines.tracking.store import NAME
from pipelines.verification import headline, mean_csi


def write_extrapolation(folder: Path) -> None:
    """Write the model that extrapolation is: its name, and how many frames it looks at."""
    folder.mkdir()
    description = {"method": "extrapolation", "inputs": 3}
    (folder / "model.json").write_text(json.dumps(description, indent=1, sort_keys=True), encoding="utf-8")


def register(store: Path, tables: Mapping[str, pd.DataFrame], models: Path, *, params: Params) -> dict[str, Version]:
    """Give extrapolation and every model in ``models`` a version with its scores; give what stands for each name."""
    step_s = usual_step(open_frames(store)["time"].to_numpy())
    versions = {}
    with tempfile.TemporaryDirectory() as scratch:
        first = Path(scratch) / "extrapolation"
        write_extrapolation(first)
        folders = {"extrapolation": first} | {name: models / name for name in params.models}
        for name, folder in folders.items():
            versions[name] = ensure_version(name, folder, headline(tables[name], step_s))
    return versions


def score_anew(version: Version, store: Path, windows: Path, params: Params) -> pd.DataFrame:
    """Evaluate a registered model on the present test events.

    Raises
    ------
    UserError
        If it is lost, or wants more frames or other steps than these windows have.
    """
    model = load(f"models:/{NAME}/{version.number}")
    step_s = usual_step(open_frames(store)["time"].to_numpy())
    if model.description.get("step_seconds", step_s) != step_s:
        raise UserError(f"its steps are of {model.description['step_seconds']} s, and those of {store} of {step_s} s")
    return evaluate(model.forecaster, model.method, store, windows, index=params.index, params=params.evaluate)


def choose(
    store: Path, windows: Path, tables: Mapping[str, pd.DataFrame], versions: Mapping[str, Version], *, params: Params
) -> None:
    """Point ``challenger`` at the best network, and ``champion`` at it too if it beats the present champion.

    Both are measured by mean CSI on the same forecasts; a champion that isn't among the present models is scored
    anew on them. One that can't be (it wants more frames, or other steps, or is lost) stays.
    """
    csi = {name: mean_csi(table) for name, table in tables.items() if name in versions}
    challenger = max(params.models, key=lambda name: (csi[name], name))
    set_alias("challenger", versions[challenger], f"best mean CSI of the networks, {csi[challenger]:.4f}")

    champion = find_alias("champion")
    if champion is None:
        set_alias("champion", versions["extrapolation"], "the first champion: no model to compare with yet")
        champion = find_alias("champion")
    assert champion is not None
    present = next((name for name, version in versions.items() if version.sha256 == champion.sha256), None)
    if present is not None:
        champion_csi = csi[present]
    else:
        try:
            champion_csi = mean_csi(score_anew(champion, store, windows, params))
        except UserError as error:
            print(f"champion: version {champion.number} stays, since it can't be scored on these forecasts: {error}")
            return
    if csi[challenger] > champion_csi:
        reason = (
            f"{challenger}: mean CSI {csi[challenger]:.4f} on the test events, version {champion.number}, "
            f"the champion before, {champion_csi:.4f}"
        )
        set_alias("champion", versions[challenger], reason)
        print(f"champion: version {versions[challenger].number}; {reason}")
    else:
        print(
            f"champion: version {champion.number} stays with mean CSI {champion_csi:.4f}; "
            f"the best network, {challenger}, has {csi[challenger]:.4f}"
        )


def main(store: Path, windows: Path, scores: Path, models: Path) -> None:
    """Register the MODELS with their SCORES; an experiment (`dvc exp run`) never moves an alias."""
    params = read_params()
    tables = read_scores(scores, params)
    versions = register(store, tables, models, params=params)
    for name, version in versions.items():
        print(f"{name}: version {version.number}" + (", new" if version.new else ""))
    if "DVC_EXP_NAME" in os.environ:
        print("an experiment moves no alias")
    else:
        choose(store, windows, tables, versions, params=params)
        log_comparison(scores.parent / "comparison")  # for `scs report`, which asks MLflow alone


if __name__ == "__main__":
    run(main)
