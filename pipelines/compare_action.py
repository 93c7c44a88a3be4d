"""Stage ``compare_action``: every network's scores on the test clips in one table, and a picture of anticipation."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pipelines.atomic import whole
from pipelines.errors import UserError
from pipelines.evaluate_action import WHOLE
from pipelines.params import read_params
from pipelines.stage import run

DRAWS, SEED = 2000, 1
STREAMS = {"main": "top-1", "t1": "T¹ alone", "t2_probe": "probe on T²"}
HOW = (
    "{clips} test clips of {groups} group(s). In brackets: 95 % interval of a bootstrap over groups ({draws} draws), "
    "since clips of one group are no independent witnesses; few groups make it wide, and a single one none. T¹ alone: "
    "the spatial stream by itself with the same classifier. Probe on T²: logistic regression on the temporal stream's "
    "features, fitted to the train clips. mAP: mean average precision over the classes. Chance is 1/{classes}."
)


def read_results(scores: Path, metrics: Path, names: list[str]) -> dict[str, tuple[pd.DataFrame, dict[str, float]]]:
    """Read the table and the metrics of every evaluated model, by name.

    Raises
    ------
    UserError
        If there are none of a model.
    """
    results = {}
    for name in names:
        try:
            said = json.loads((metrics / f"{name}.json").read_text(encoding="utf-8"))
            results[name] = pd.read_parquet(scores / f"{name}.parquet"), said
        except FileNotFoundError:
            raise UserError(
                f"params.yaml: action_models.{name}: has no scores; does dvc.yaml list it under vars?"
            ) from None
    return results


def interval(result: pd.DataFrame, rank: int = 1) -> tuple[float, float, float]:
    """Share of clips whose class is among the first ``rank``, and its 95 % interval by a bootstrap over groups.

    Parameters
    ----------
    result : DataFrame
        Columns group and rank, a row a clip.

    Returns
    -------
    share, low, high : float
        The ends are NaN where there is one group only.

    References
    ----------
    Davison and Hinkley 1997, doi:10.1017/CBO9780511802843, section 3.8: resampling whole clusters.
    """
    right = (result["rank"] <= rank).groupby(result["group"]).agg(["sum", "count"]).to_numpy(float)
    share = right[:, 0].sum() / right[:, 1].sum()
    groups = len(right)
    if groups < 2:
        return share, np.nan, np.nan
    drawn = np.random.default_rng(SEED).multinomial(groups, np.full(groups, 1 / groups), DRAWS) @ right
    low, high = np.percentile(drawn[:, 0] / drawn[:, 1], [2.5, 97.5])
    return share, float(low), float(high)


def _shown(result: pd.DataFrame, stream: str, rank: int = 1) -> str:
    of_stream = result[(result["stream"] == stream) & (result["observed"] == WHOLE)]
    if of_stream.empty:
        return "–"
    share, low, high = interval(of_stream, rank)
    return f"{share:.3f}" + ("" if np.isnan(low) else f" [{low:.3f} to {high:.3f}]")


def write_table(results: Mapping[str, tuple[pd.DataFrame, dict[str, float]]], markdown: Path, data: Path) -> None:
    """Write the comparison as Markdown for people and as JSON."""
    ranked = sorted(results, key=lambda name: (-results[name][1]["top1"], name))
    lines = ["| model | top-1 | top-5 | mAP | T¹ alone | probe on T² |", "|---|---|---|---|---|---|"]
    for name in ranked:
        result, metrics = results[name]
        cells = [_shown(result, "main"), _shown(result, "main", 5), f"{metrics['mean_average_precision']:.3f}"]
        cells += [_shown(result, stream) for stream in ("t1", "t2_probe")]
        lines.append(f"| {name} | {' | '.join(cells)} |")

    any_result = results[ranked[0]][0]
    classes = sorted(any_result["label"].unique())
    columns = {
        f"{name}, {said}": at_end.groupby("label")["rank"].agg(lambda rank: (rank <= 1).mean())
        for name in ranked
        for stream, said in STREAMS.items()
        if not (at_end := _of(results[name][0], stream)).empty
    }
    lines += ["", "Share recognised of each class:", "", f"| class | {' | '.join(columns)} |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for label in classes:
        lines.append(f"| {label} | {' | '.join(f'{shares[label]:.2f}' for shares in columns.values())} |")
    at_end = _of(any_result, "main")
    how = HOW.format(clips=len(at_end), groups=at_end["group"].nunique(), draws=DRAWS, classes=len(classes))
    with whole(markdown) as temporary:
        temporary.write_text("\n".join([*lines, "", how, ""]), encoding="utf-8")
    content = {
        "how": how,
        "scores": {name: results[name][1] for name in ranked},
        "recognised": {column: shares.to_dict() for column, shares in columns.items()},
    }
    with whole(data) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _of(result: pd.DataFrame, stream: str) -> pd.DataFrame:
    return result[(result["stream"] == stream) & (result["observed"] == WHOLE)]


def draw_anticipation(results: Mapping[str, tuple[pd.DataFrame, dict[str, float]]], path: Path) -> None:
    """Draw accuracy against the number of observed frames."""
    figure = Figure(figsize=(5.0, 3.6), dpi=100, layout="constrained")
    ax = figure.subplots()
    for name, (result, _) in results.items():
        seen = result[(result["stream"] == "main") & (result["observed"] != WHOLE)]
        points = {observed: interval(rows) for observed, rows in seen.groupby("observed")}
        share, low, high = np.array(list(points.values())).T
        (line,) = ax.plot(list(points), share, marker=".", label=name)
        ax.fill_between(list(points), low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    ax.set_xscale("log", base=2)
    ax.set_xlabel("observed frames (a shorter clip: all of it)")
    ax.set_ylabel("top-1 accuracy, 95 % interval over groups")
    ax.set_ylim(0, 1)
    ax.legend(fontsize=8)
    with whole(path) as temporary:
        figure.savefig(temporary)


def main(scores: Path, metrics: Path, out: Path) -> None:
    """Compare the tables in SCORES, with their METRICS, into the folder OUT."""
    results = read_results(scores, metrics, list(read_params().action_models))
    write_table(results, out / "table.md", out / "table.json")
    draw_anticipation(results, out / "anticipation.png")
    print((out / "table.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    run(main)
