"""Stage ``register_driving``: make the registry agree with the networks that say an angle, and their scores."""

from pathlib import Path

from pipelines.common.stage import run
from pipelines.driving.specification import STEERING
from pipelines.params.read import read_params
from pipelines.tracking.best_version import reconcile
from pipelines.training.results import read_results


def main(scores: Path, metrics: Path, models: Path) -> None:
    """Register the MODELS with their SCORES and METRICS; an experiment (`dvc exp run`) never moves an alias."""
    results = read_results("driving", scores, metrics, read_params().trained_driving)
    of_all = {name: values for name, (_, values) in results.items()}
    reconcile(STEERING, of_all, models, "accuracy", scores.parent / "comparison")


if __name__ == "__main__":
    run(main)
