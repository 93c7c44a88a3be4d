"""Stage ``register_outline``: make the registry agree with the networks that outline objects, and their scores."""

from pathlib import Path

from pipelines.common.stage import run
from pipelines.outline.specification import OUTLINE
from pipelines.params.read import read_params
from pipelines.tracking.best_version import reconcile
from pipelines.training.results import read_results


def main(scores: Path, metrics: Path, models: Path) -> None:
    """Register the MODELS with their SCORES and METRICS; an experiment (`dvc exp run`) never moves an alias."""
    results = read_results("outline", scores, metrics, read_params().trained_outline)
    of_all = {name: values for name, (_, values) in results.items()}
    reconcile(OUTLINE, of_all, models, "iou", scores.parent / "comparison")


if __name__ == "__main__":
    run(main)
