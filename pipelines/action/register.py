"""Stage ``register_action``: make the registry agree with the networks that recognise actions, and their scores."""

from pathlib import Path

from pipelines.action.specification import ACTION
from pipelines.common.stage import run
from pipelines.params.read import read_params
from pipelines.tracking.best_version import reconcile
from pipelines.training.results import read_results


def main(scores: Path, metrics: Path, models: Path) -> None:
    """Register the MODELS with their SCORES and METRICS; an experiment (`dvc exp run`) never moves an alias."""
    results = read_results("action", scores, metrics, read_params().trained_action)
    of_all = {name: values for name, (_, values) in results.items()}
    reconcile(ACTION, of_all, models, "top1", scores.parent / "comparison")


if __name__ == "__main__":
    run(main)
