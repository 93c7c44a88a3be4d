"""Pictures of angles: over time, on frames with the wheel drawn in, and of accuracies."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from pipelines.common.files import atomic_path
from pipelines.driving.drives import Drives
from pipelines.driving.scores import ROADS, accuracy
from pipelines.params.driving import DrivingModel, Tolerances

STREAMS = {"main": "all of it", "t1": "T¹, the spatial stream", "t2_probe": "T², a probe on the temporal stream"}
SHOWN, ROWS = 8, 2  # frames of the strip
LOCK_DEGREES = 90.0  # what a wheel that is a share of full lock is drawn as turned at full lock
SHADE = {"hidden": "#c8c8c8", "curved": "#e8dcc0"}


def longest(result: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the longest sequence."""
    return result[result["sequence"] == result["sequence"].value_counts().index[0]]


def draw_example(result: pd.DataFrame, drives: Drives, title: str, path: Path) -> None:
    """Draw frames of the longest test sequence with the wheel drawn in, and its angles over time below."""
    example = longest(result)
    figure = Figure(figsize=(10, 5.5), dpi=100, layout="constrained")
    grid = figure.add_gridspec(ROWS + 1, SHOWN // ROWS, height_ratios=[*[1] * ROWS, 1.4])
    rows = example.iloc[np.linspace(0, len(example) - 1, SHOWN).astype(int)]
    for place, (_, row) in enumerate(rows.iterrows()):
        ax = figure.add_subplot(grid[divmod(place, SHOWN // ROWS)])
        ax.imshow(drives.frames(int(row["frame"]), 1)[0])
        ax.set_axis_off()
        ax.set_title(f"{row['time'] - example['time'].iloc[0]:.1f} s, {row['road']}", fontsize=8)
        _wheel(ax, row["angle"], drives, "white")
        _wheel(ax, row["main"], drives, "red")
    ax = figure.add_subplot(grid[ROWS, :])
    _over_time(ax, example, {heading: example[key] for key, heading in STREAMS.items() if key in example}, drives.unit)
    figure.suptitle(f"{title}: the wheel as it was (white) and as the network says (red)", fontsize=10)
    _save(figure, path)


def _wheel(ax: Axes, angle: float, drives: Drives, colour: str) -> None:
    """Draw a wheel into a frame's lower left corner, turned clockwise by a positive angle."""
    height, _ = drives.size
    radius = 0.2 * height
    turned = np.radians(angle * (1.0 if drives.unit == "degrees" else LOCK_DEGREES))
    x, y = 1.4 * radius, height - 1.4 * radius
    ax.add_patch(Circle((x, y), radius, fill=False, edgecolor=colour, linewidth=1))
    ax.plot([x, x + radius * np.sin(turned)], [y, y - radius * np.cos(turned)], color=colour, linewidth=1.5)


def _over_time(ax: Axes, example: pd.DataFrame, lines: Mapping[str, pd.Series], unit: str) -> None:
    seconds = example["time"] - example["time"].iloc[0]
    for road, colour in SHADE.items():
        there = (example["road"] == road).to_numpy()
        ax.fill_between(seconds, 0, 1, where=there, color=colour, transform=ax.get_xaxis_transform(), label=road)
    ax.plot(seconds, example["angle"], color="black", linewidth=2, label="the driver")
    for name, values in lines.items():
        ax.plot(seconds, values, linewidth=1, label=name)
    ax.set_xlim(0, float(seconds.iloc[-1]))
    ax.set_xlabel("s")
    ax.set_ylabel(f"angle, {unit}")
    ax.legend(fontsize=7, ncols=2, frameon=False)


def draw_over_time(results: Mapping[str, pd.DataFrame], unit: str, path: Path) -> None:
    """Draw what all networks say over the longest test sequence."""
    first = longest(next(iter(results.values())))
    frames = first["frame"]
    lines = {name: result.set_index("frame")["main"].reindex(frames) for name, result in results.items()}
    figure = Figure(figsize=(10, 4.5), dpi=100, layout="constrained")
    _over_time(figure.subplots(), first, {name: line.reset_index(drop=True) for name, line in lines.items()}, unit)
    _save(figure, path)


def draw_tolerances(results: Mapping[str, pd.DataFrame], tolerances: Tolerances, unit: str, path: Path) -> None:
    """Draw accuracy against the tolerance λ; dashed is what needs no network, whose names have spaces."""
    figure = Figure(figsize=(7.5, 4.5), dpi=100, layout="constrained")
    ax = figure.subplots()
    ax.set_prop_cycle(color=colormaps["tab20"].colors)  # type: ignore[attr-defined]
    for name, result in results.items():
        shares = [accuracy(result, "main", within)[0] for within in tolerances.within]
        ax.plot(tolerances.within, shares, "--" if " " in name else "-", marker=".", label=name)
    ax.set_xlabel(f"tolerance λ, {unit}")
    ax.set_ylabel("share of test frames within it")
    ax.set_ylim(0, 1)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    _save(figure, path)


def draw_streams(results: Mapping[str, pd.DataFrame], within: float, path: Path) -> None:
    """Draw the accuracy of a network, of T¹ and of T² on each kind of road (the paper's Extended Data Fig. 1 d)."""
    figure = Figure(figsize=(8, max(3.2, 1 + 0.4 * len(results))), dpi=100, layout="constrained")
    for ax, road in zip(figure.subplots(1, len(ROADS), sharey=True), ROADS, strict=True):
        for place, (stream, heading) in enumerate(STREAMS.items()):
            of_road = [(y, result[result["road"] == road]) for y, result in enumerate(results.values())]
            points = [(y, accuracy(rows, stream, within)) for y, rows in of_road if stream in rows and len(rows)]
            if points:
                share, low, high = np.array([values for _, values in points]).T
                at = np.array([y for y, _ in points]) + 0.2 * place
                sides = np.nan_to_num(np.stack([share - low, high - share])).clip(0)
                ax.errorbar(share, at, xerr=sides, fmt="osD"[place], markersize=4, label=heading)
        ax.set_title(road, fontsize=9)
        ax.set_xlim(0, 1)
        ax.set_yticks(range(len(results)), list(results), fontsize=7)
    figure.axes[0].invert_yaxis()
    figure.axes[1].set_xlabel(f"share of test frames within {within:g}, 95 % interval")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, fontsize=8, frameon=False)
    _save(figure, path)


def _alike(names: Sequence[str], of: Callable[[str], object]) -> list[str]:
    """Return those that have in common what most have."""
    kinds = {name: repr(of(name)) for name in names}
    most = Counter(kinds.values()).most_common(1)
    return [name for name, kind in kinds.items() if kind == most[0][0]]


def draw_lengths(
    results: Mapping[str, pd.DataFrame], models: Mapping[str, DrivingModel], within: float, path: Path
) -> None:
    """Draw accuracy against the number of observed frames, and against the switch's p (the paper's 1 c).

    All else is equal: by length those of the switch that most have, by p those of the length that most have.
    """
    figure = Figure(figsize=(8, 3.6), dpi=100, layout="constrained")
    by_frames, by_p = figure.subplots(1, 2, sharey=True)
    scs = [name for name in results if models[name].cell == "scs"]
    for cell in dict.fromkeys(models[name].cell for name in results):
        names = _alike([name for name in results if models[name].cell == cell], lambda name: models[name].switch)
        _points(by_frames, cell, {name: float(models[name].frames) for name in names}, results, within)
    of_length = _alike(scs, lambda name: models[name].frames)
    for kind, adaptive in (("STSGD", False), ("ASTSGD", True)):
        names = [name for name in of_length if bool(models[name].switch.adaptive) is adaptive]
        _points(by_p, kind, {name: models[name].switch.p for name in names}, results, within)
    by_frames.set_xlabel("observed frames")
    by_p.set_xlabel("p of the switch (0: off)")
    by_frames.set_ylabel(f"share within {within:g}")
    for ax in (by_frames, by_p):
        if ax.has_data():
            ax.legend(fontsize=7, frameon=False)
    _save(figure, path)


def _points(
    ax: Axes, label: str, places: Mapping[str, float], results: Mapping[str, pd.DataFrame], within: float
) -> None:
    """Draw networks' accuracies with intervals at their places."""
    if not places:
        return
    share, low, high = np.array([accuracy(results[name], "main", within) for name in places]).T
    sides = np.nan_to_num(np.stack([share - low, high - share])).clip(0)
    ax.errorbar(list(places.values()), share, yerr=sides, fmt="o", capsize=3, markersize=4, label=label)


def _save(figure: Figure, path: Path) -> None:
    with atomic_path(path) as temporary:
        figure.savefig(temporary)
