"""Stage ``compare_action``: every network's scores on the test clips in one table and two pictures."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from pipelines.action.scores import WHOLE
from pipelines.common.files import atomic_path, write_text
from pipelines.common.markdown import table_head, table_row
from pipelines.common.stage import run
from pipelines.params.read import read_params
from pipelines.training.results import read_results
from pipelines.verification.group_bootstrap import DRAWS, bootstrap_mean, show_interval

SHADED = 4  # networks whose intervals can be told apart in one picture
STREAMS = {"main": "top-1", "t1": "T¹ alone", "t2_probe": "probe on T²"}
HOW = (
    "{clips} test clips of {groups} group(s). In brackets: 95 % interval of a bootstrap over groups ({draws} draws), "
    "since clips of one group are no independent witnesses; few groups make it wide, and a single one none. T¹ alone: "
    "the spatial stream by itself with the same classifier. Probe on T²: logistic regression on the temporal stream's "
    "features, fitted to the train clips. mAP: mean average precision over the classes. Chance is 1/{classes}. The "
    "difference is in top-1 and paired: each draw has the same groups of both networks. Training from another seed "
    "changes networks too, and no interval here knows of it."
)


def interval(result: pd.DataFrame, rank: int = 1) -> tuple[float, float, float]:
    """Return the share of clips whose class is among the first ``rank``, and its 95 % interval over groups.

    Of columns group and rank, a row a clip. See `pipelines.verification.group_bootstrap`.
    """
    return bootstrap_mean(result["rank"] <= rank, result["group"])


def difference(result: pd.DataFrame, other: pd.DataFrame) -> tuple[float, float, float]:
    """Return top-1 of one network minus that of another on the same clips, and its interval as `interval` does."""
    gained = (result.set_index("clip")["rank"] <= 1).astype(int) - (other.set_index("clip")["rank"] <= 1)
    return bootstrap_mean(gained, result.set_index("clip")["group"])


def _of(result: pd.DataFrame, stream: str) -> pd.DataFrame:
    return result[(result["stream"] == stream) & (result["observed"] == WHOLE)]


def write_table(results: Mapping[str, tuple[pd.DataFrame, dict[str, float]]], markdown: Path, data: Path) -> None:
    """Write the comparison as Markdown for people and as JSON."""
    ranked = sorted(results, key=lambda name: (-results[name][1]["top1"], name))
    first = next(iter(results))
    lines = table_head("model", "top-1", f"minus {first}", "top-5", "mAP", "T¹ alone", "probe on T²")
    for name in ranked:
        result, metrics = results[name]
        main = _of(result, "main")
        gain = "" if name == first else show_interval(*difference(main, _of(results[first][0], "main")), "+")
        top1, top5, precision = (
            show_interval(*interval(main)),
            show_interval(*interval(main, 5)),
            metrics["mean_average_precision"],
        )
        probes = (
            show_interval(*interval(of)) if len(of := _of(result, stream)) else "–" for stream in ("t1", "t2_probe")
        )
        lines.append(table_row(name, top1, gain, top5, f"{precision:.3f}", *probes))

    any_result = results[ranked[0]][0]
    classes = sorted(any_result["label"].unique())
    columns = {
        f"{name}, {heading}": at_end.groupby("label")["rank"].agg(lambda rank: (rank <= 1).mean())
        for name in ranked
        for stream, heading in STREAMS.items()
        if not (at_end := _of(results[name][0], stream)).empty
    }
    lines += ["", "Share recognised of each class:", "", *table_head("class", *columns)]
    for label in classes:
        lines.append(table_row(label, *(f"{shares[label]:.2f}" for shares in columns.values())))
    at_end = _of(any_result, "main")
    how = HOW.format(clips=len(at_end), groups=at_end["group"].nunique(), draws=DRAWS, classes=len(classes))
    write_text(markdown, "\n".join([*lines, "", how, ""]))
    content = {
        "how": how,
        "scores": {name: results[name][1] for name in ranked},
        "recognised": {column: shares.to_dict() for column, shares in columns.items()},
    }
    write_text(data, json.dumps(content, indent=1))


def draw_accuracy(results: Mapping[str, tuple[pd.DataFrame, dict[str, float]]], path: Path) -> None:
    """Draw top-1 accuracy of every network with its interval, and that of its subtasks."""
    figure = Figure(figsize=(6.4, 1.3 + 0.3 * len(results)), dpi=100, layout="constrained")
    ax = figure.subplots()
    for place, (stream, heading) in enumerate(STREAMS.items()):
        rows = [(y, interval(of)) for y, (result, _) in enumerate(results.values()) if len(of := _of(result, stream))]
        if rows:
            share, low, high = np.array([values for _, values in rows]).T
            at = np.array([y for y, _ in rows]) + 0.2 * place
            # Nothing on one side where there is no interval.
            sides = np.nan_to_num(np.stack([share - low, high - share]))
            ax.errorbar(share, at, xerr=sides, fmt="osD"[place], markersize=4, label=heading)
    labels = pd.concat(_of(result, "main") for result, _ in results.values())["label"]
    ax.axvline(1 / labels.nunique(), color="grey", linestyle=":", linewidth=1, label="chance")
    ax.set_yticks(range(len(results)), list(results))
    ax.invert_yaxis()
    ax.set_xlim(0, 1)
    ax.set_xlabel("share of test clips recognised, 95 % interval over groups")
    figure.legend(loc="outside upper center", ncols=4, fontsize=8, frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary)


def draw_anticipation(results: Mapping[str, tuple[pd.DataFrame, dict[str, float]]], path: Path) -> None:
    """Draw accuracy against the number of observed frames; with intervals where lines are few enough to see them."""
    figure = Figure(figsize=(6.4, max(3.6, 0.26 * len(results))), dpi=100, layout="constrained")
    ax = figure.subplots()
    ax.set_prop_cycle(color=colormaps["tab20" if len(results) > 10 else "tab10"].colors)  # type: ignore[attr-defined]
    for name, (result, _) in results.items():
        seen = result[(result["stream"] == "main") & (result["observed"] != WHOLE)]
        points = {observed: interval(rows) for observed, rows in seen.groupby("observed")}
        share, low, high = np.array(list(points.values())).T
        (line,) = ax.plot(list(points), share, marker=".", label=name)
        if len(results) <= SHADED:
            ax.fill_between(list(points), low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.set_xlabel("observed frames (a shorter clip: all of it)")
    ax.set_ylabel("top-1 accuracy" + (", 95 % interval" if len(results) <= SHADED else ""))
    ax.set_ylim(0, 1)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary)


def main(scores: Path, metrics: Path, out: Path) -> None:
    """Compare the tables in SCORES, with their METRICS, into the folder OUT."""
    results = read_results("action", scores, metrics, read_params().trained_action)
    write_table(results, out / "table.md", out / "table.json")
    draw_accuracy(results, out / "accuracy.png")
    draw_anticipation(results, out / "anticipation.png")
    print((out / "table.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    run(main)
