"""Stage ``register_action``: make the registry agree with the networks that recognise actions, and their scores.

It runs each time and changes only what differs; see `pipelines.nowcast.register`.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from pipelines.action.scores import read_results
from pipelines.action.specification import ACTION
from pipelines.common.stage import run
from pipelines.params.read import read_params
from pipelines.tracking.registry import Version
from pipelines.tracking.runs import log_comparison


def register_action(results: Mapping[str, tuple[pd.DataFrame, dict[str, float]]], models: Path) -> dict[str, Version]:
    """Register every model in ``models`` that has results, with its scores; return the versions by name."""
    return {name: ACTION.ensure_version(name, models / name, metrics) for name, (_, metrics) in results.items()}


def choose_action(results: Mapping[str, tuple[pd.DataFrame, dict[str, float]]], versions: Mapping[str, Version]) -> str:
    """Point ``champion`` at the network with the best top-1 accuracy on the present test clips; return its name."""
    best = max(results, key=lambda name: (results[name][1]["top1"], name))
    ACTION.check(versions[best])
    ACTION.set_alias("champion", versions[best], f"best top-1 of the networks, {results[best][1]['top1']:.4f}")
    return best


def main(scores: Path, metrics: Path, models: Path) -> None:
    """Register the MODELS with their SCORES and METRICS; an experiment (`dvc exp run`) never moves an alias."""
    results = read_results(scores, metrics, read_params().trained_action)
    versions = register_action(results, models)
    for name, version in versions.items():
        print(f"{name}: version {version.number}" + (", new" if version.new else ""))
    if "DVC_EXP_NAME" in os.environ:
        print("an experiment moves no alias")
    else:
        best = choose_action(results, versions)
        print(f"champion: version {versions[best].number}, {best}")
        log_comparison(ACTION, scores.parent / "comparison")


if __name__ == "__main__":
    run(main)
