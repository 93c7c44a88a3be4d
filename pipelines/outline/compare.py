"""Stage ``compare_outline``: every network's polygons of the test crops in one table, and pictures."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pipelines.common.files import atomic_path, write_text
from pipelines.common.markdown import table_head, table_row
from pipelines.common.stage import run
from pipelines.outline.evaluate import BASELINES, GRID_LIMIT, MASK, POLYGON
from pipelines.params.read import read_params
from pipelines.training.results import Results, read_results
from pipelines.verification.group_bootstrap import DRAWS, bootstrap_mean, show_interval

HOW = (
    "{crops} test crops of {images} image(s). In brackets: 95 % interval of a bootstrap over images ({draws} draws). "
    "IoU: of the pixels of a crop, 224 × 224, with the true polygon, averaged over crops. F: of the boundary at 1 and "
    "2 cells (8 and 16 pixels of the crop). Vertices: of the polygon, and of the true one on the grid of 28 × 28. "
    "The traced mask is of a head on the same encoder; the true polygon on the grid is the best that vertices on it "
    "allow. The difference is paired: each draw has the same images of both. s: seconds of encoder and search for one "
    "object by itself. Corrected: the first vertex that is off by more than T cells is put right, and the network goes "
    "on from there; clicks are of an object, of the {corrected} that have 3 vertices or more on the grid. Training "
    "from another seed changes networks too, and no interval here knows of it."
)


def interval(result: pd.DataFrame, column: str = "iou") -> tuple[float, float, float]:
    """Return the mean of a column over the crops, and its 95 % interval over images."""
    return bootstrap_mean(result[column], result["image"])


def difference(result: pd.DataFrame, other: pd.DataFrame) -> tuple[float, float, float]:
    """Return the mean IoU of one table minus that of another of the same crops, and its interval over images."""
    both = result.set_index("crop")
    return interval(both.assign(iou=both["iou"] - other.set_index("crop")["iou"]))


def rows_of(result: pd.DataFrame, method: str = POLYGON, threshold: int = 0) -> pd.DataFrame:
    """Return the rows of one method, and of one threshold of corrections."""
    return result[(result["method"] == method) & (result["threshold"] == threshold)]


def write_table(results: Results, markdown: Path, data: Path) -> None:
    """Write the comparison as Markdown for people and as JSON."""
    ranked = sorted(results, key=lambda name: (-results[name][1]["iou"], name))
    heads = (
        "IoU",
        "minus its traced mask",
        "mean of classes",
        "F 1 cell",
        "F 2 cells",
        "vertices (true)",
        "closed",
        "s",
    )
    lines = table_head("model", *heads)
    for name in ranked:
        result, metrics = results[name]
        own = rows_of(result)
        gain = show_interval(*difference(own, rows_of(result, MASK)), "+")
        numbers = (f"{metrics[key]:.3f}" for key in ("mean_class_iou", "f1", "f2"))
        vertices = f"{metrics['vertices']:.1f} ({metrics['true_vertices']:.1f})"
        more = vertices, f"{metrics['closed']:.0%}", f"{metrics['seconds_an_object']:.3f}"
        lines.append(table_row(name, show_interval(*interval(own)), gain, *numbers, *more))
    for name, method in [(ranked[0], of) for of in (*BASELINES, GRID_LIMIT)]:
        of_method = rows_of(results[name][0], method)
        label = f"{method} of {name}" if method == MASK else method
        classes = of_method.groupby("class_name")["iou"].mean().mean()
        scores = f"{classes:.3f}", f"{of_method['f1'].mean():.3f}", f"{of_method['f2'].mean():.3f}"
        lines.append(table_row(label, show_interval(*interval(of_method)), "", *scores, "", "", ""))

    thresholds = sorted(set(results[ranked[0]][0]["threshold"]) - {0})
    lines += ["", "Corrected, clicks and IoU after them:", "", *table_head("model", *(f"T = {T}" for T in thresholds))]
    for name in ranked:
        corrected = [rows_of(results[name][0], threshold=T) for T in thresholds]
        shown = (f"{show_interval(*interval(of, 'clicks'))} clicks, IoU {of['iou'].mean():.3f}" for of in corrected)
        lines.append(table_row(name, *shown))

    by_class = {name: rows_of(results[name][0]).groupby("class_name")["iou"].mean() for name in ranked}
    known = rows_of(results[ranked[0]][0]).groupby("class_name")["known"].any()
    lines += ["", "IoU of each class:", "", *table_head("class", "crops", *ranked)]
    counts = rows_of(results[ranked[0]][0])["class_name"].value_counts()
    for name in sorted(known.index):
        label = name if known[name] else f"{name} (not trained on)"
        lines.append(table_row(label, str(counts[name]), *(f"{of[name]:.3f}" for of in by_class.values())))
    of_first = results[ranked[0]][0]
    own, objects = rows_of(of_first), of_first.loc[of_first["threshold"] > 0, "crop"].nunique()
    how = HOW.format(crops=len(own), images=own["image"].nunique(), draws=DRAWS, corrected=objects)
    write_text(markdown, "\n".join([*lines, "", how, ""]))
    metrics_of = {name: results[name][1] for name in ranked}
    content = {"how": how, "scores": metrics_of, "iou": {name: of.to_dict() for name, of in by_class.items()}}
    write_text(data, json.dumps(content, indent=1))


def draw_scores(results: Results, path: Path) -> None:
    """Draw every network's IoU with its interval, beside the baselines', and clicks against IoU after them."""
    figure = Figure(figsize=(9, 1.6 + 0.4 * max(len(results) + len(BASELINES), 4)), dpi=100, layout="constrained")
    bars, clicks = figure.subplots(1, 2)
    first = next(iter(results))
    rows = {name: rows_of(result) for name, (result, _) in results.items()}
    rows |= {f"{of} of {name}": rows_of(result, of) for of in (MASK,) for name, (result, _) in results.items()}
    rows |= {of: rows_of(results[first][0], of) for of in BASELINES if of != MASK}
    for place, (name, of) in enumerate(rows.items()):
        mean, low, high = interval(of)
        sides = np.nan_to_num([[mean - low], [high - mean]])  # nothing on one side where there is no interval
        how = {"fmt": "o", "color": "C0"} if name in results else {"fmt": "s", "color": "grey"}
        bars.errorbar(mean, place, xerr=sides, **how)
    bars.set_yticks(range(len(rows)), list(rows), parse_math=False)
    bars.invert_yaxis()
    bars.set_xlim(0, 1)
    bars.set_xlabel("IoU, 95 % interval over images")
    for name, (result, _) in results.items():
        by_threshold = result[result["method"] == POLYGON].groupby("threshold")
        points = by_threshold[["clicks", "iou"]].mean().sort_values("clicks")
        clicks.plot(points["clicks"], points["iou"], marker="o", label=name)
        for T, point in points.iterrows():
            clicks.annotate(
                f"T={T}" if T else "none", tuple(point), fontsize=7, textcoords="offset points", xytext=(4, 4)
            )
    clicks.set_xlabel("clicks an object")
    clicks.set_ylabel("IoU after them")
    clicks.legend(fontsize=7)
    with atomic_path(path) as temporary:
        figure.savefig(temporary)


def draw_curves(curves: dict[str, pd.DataFrame], path: Path) -> None:
    """Draw how each network learned: the loss of the next vertex on the validation crops, by step."""
    figure = Figure(figsize=(6.4, 4), dpi=100, layout="constrained")
    ax = figure.subplots()
    for name, curve in curves.items():
        ax.plot(curve["step"], curve["validation_next_loss"], marker=".", label=name)
    ax.set_xlabel("step")
    ax.set_ylabel("divergence of the next vertex, validation, nats")
    ax.legend(fontsize=7)
    with atomic_path(path) as temporary:
        figure.savefig(temporary)


def main(scores: Path, metrics: Path, curves: Path, out: Path) -> None:
    """Compare the tables in SCORES, with their METRICS and learning CURVES, into the folder OUT."""
    names = read_params().trained_outline
    results = read_results("outline", scores, metrics, names)
    write_table(results, out / "table.md", out / "table.json")
    draw_scores(results, out / "iou.png")
    draw_curves({name: pd.read_csv(curves / f"{name}.csv") for name in names}, out / "curves.png")
    print((out / "table.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    run(main)
