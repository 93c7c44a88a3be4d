"""The registry of a task whose champion is the network with the best score on the present test samples."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from pipelines.tracking.registry import RegisteredModel, Version
from pipelines.tracking.runs import log_comparison
from pipelines.tracking.view import share_view

Scores = Mapping[str, Mapping[str, float]]  # by the network's name, its metrics


def register_all(of: RegisteredModel, scores: Scores, models: Path) -> dict[str, Version]:
    """Register every network in ``models`` that has scores, with them; return the versions by name."""
    return {name: of.ensure_version(name, models / name, metrics) for name, metrics in scores.items()}


def choose_best(of: RegisteredModel, scores: Scores, versions: Mapping[str, Version], by: str) -> str:
    """Point ``champion`` at the network whose metric ``by`` is highest; return its name."""
    best = max(scores, key=lambda name: (scores[name][by], name))
    of.check(versions[best])
    of.set_alias("champion", versions[best], f"best {by} of the networks, {scores[best][by]:.4f}")
    return best


def reconcile(of: RegisteredModel, scores: Scores, models: Path, by: str, comparison: Path) -> None:
    """Register all, and `settle` that the best is the champion; it changes only what differs."""
    versions = register_all(of, scores, models)

    def choose() -> str:
        best = choose_best(of, scores, versions, by)
        return f"champion: version {versions[best].number}, {best}"

    settle(of, versions, choose, comparison)


def settle(of: RegisteredModel, versions: Mapping[str, Version], choose: Callable[[], str], comparison: Path) -> None:
    """Print the versions, choose the champion, print what ``choose`` says, and log the folder of the comparison.

    An experiment (`dvc exp run`) never moves an alias.
    """
    for name, version in versions.items():
        print(f"{name}: version {version.number}" + (", new" if version.new else ""))
    share_view(of)
    if "DVC_EXP_NAME" in os.environ:
        print("an experiment moves no alias")
        return
    print(choose())
    log_comparison(of, comparison)
