"""Learning curves of a DVC experiment's networks in one picture, and when one overtakes another.

    python benchmarks/learning_curves.py OUT.png EXPERIMENT [--metric validation_accuracy]

It reads MLflow. Networks NAME, NAME_seed2, ... are seeds of one: a thin line each, and their mean a thick one, in which
one that has ended stays where it was. For each network without STSGD (``_off``) it prints from which step on the mean
of each other stays better: above it, or of a loss below it.
"""

import argparse
import re
import sys
from pathlib import Path

import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure

from pipelines.common.errors import UserError
from pipelines.tracking.learning_curves import learning_curves


def mean_curves(curves: pd.DataFrame) -> pd.DataFrame:
    """Return the mean over the seeds, a column a network and a row a step; what has ended stays where it ended."""
    by_seed = curves.pivot_table(index="step", columns=["network", "model"], values="value").ffill()
    return pd.DataFrame({name: by_seed[name].mean(axis=1) for name in curves["network"].unique()})


def overtakes(mean: pd.Series, of: pd.Series) -> int | None:
    """Return the first step from which ``mean`` stays above ``of``; None if it ends below."""
    above = mean > of
    if not above.iloc[-1]:
        return None
    below = above[~above]
    return int(above.index[0] if below.empty else above.index[above.index > below.index[-1]][0])


def draw(curves: pd.DataFrame, means: pd.DataFrame, metric: str, path: Path) -> None:
    figure = Figure(figsize=(7.2, 4.2), dpi=100, layout="constrained")
    ax = figure.subplots()
    for color, name in zip(colormaps["tab10"].colors, means, strict=False):
        for _, seed in curves[curves["network"] == name].groupby("model"):
            ax.plot(seed["step"], seed["value"], color=color, linewidth=0.6, alpha=0.6)
        ax.plot(means.index, means[name], color=color, linewidth=2, label=name)
    ax.set_xlabel("training step")
    ax.set_ylabel(metric.replace("_", " "))
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("experiment", help="name of the DVC experiment")
    parser.add_argument("--metric", default="validation_accuracy")
    parser.add_argument("--of", default="action-recognition", help="registered model")
    arguments = parser.parse_args()
    try:
        curves = learning_curves(arguments.of, arguments.experiment, arguments.metric)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    curves["network"] = [re.sub(r"_seed\d+$", "", model) for model in curves["model"]]
    means = mean_curves(curves)
    draw(curves, means, arguments.metric, arguments.out)
    sign = -1 if arguments.metric.endswith("loss") else 1  # of what is better the higher
    for name in means:
        step = (sign * means[name]).idxmax()
        print(f"{name}: best mean {means[name][step]:.3f} at step {step}")
    for plain in [name for name in means if name.endswith("_off")]:
        for name in means.columns.drop(plain):
            step = overtakes(sign * means[name], sign * means[plain])
            print(f"{name} better than {plain}: " + ("no, at the end" if step is None else f"from step {step} on"))
    print(arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
