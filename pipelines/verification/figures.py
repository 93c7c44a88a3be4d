"""Pictures of scores against lead time, and of spectra."""

from collections.abc import Container, Mapping, Sequence
from itertools import cycle
from pathlib import Path

import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipelines.common.files import atomic_path
from pipelines.verification.bootstrap import Tables
from pipelines.verification.probabilities import crps, few_rates, reliability
from pipelines.verification.scoring import SCALES_KM
from pipelines.verification.spatial import WAVELENGTHS_KM, power_column
from pipelines.verification.table import fss_threshold

RARE = 0.001  # share of pixels
TAB20 = colormaps["tab20"](range(20)).tolist()
COLOURS = TAB20[::2] + TAB20[1::2]  # the usual ten, then lighter ones


def draw_csi(scores: Tables, path: Path, dashed: Container[str]) -> None:
    """Draw CSI against lead time, one panel a threshold.

    Parameters
    ----------
    scores : mapping of str to DataFrame
        Of :func:`pipelines.verification.scoring.pooled`, by the method's name.
    dashed : container of str
        Methods whose lines are dashed.
    """
    thresholds = sorted(next(iter(scores.values())).index.unique("threshold"))
    panels = {f"at least {at:g} mm/h": {name: of["csi"].loc[at] for name, of in scores.items()} for at in thresholds}
    _draw_panels(panels, "CSI, pooled", path, dashed)


def draw_fss(scores: Tables, path: Path, dashed: Container[str]) -> None:
    """Draw FSS of one threshold against lead time, one panel a scale; parameters are those of :func:`draw_csi`."""
    at = fss_threshold(next(iter(scores.values())).index.unique("threshold"))
    panels = {
        f"at least {at:g} mm/h within {scale} km": {name: of.loc[at][f"fss_{scale}km"] for name, of in scores.items()}
        for scale in SCALES_KM
    }
    _draw_panels(panels, "FSS, pooled", path, dashed)


def draw_spectra(tables: Tables, path: Path, dashed: Container[str]) -> None:
    """Draw the mean RAPSD of forecast and observation over wavelength, one panel a lead time.

    What lies below the black line is too smooth, what lies above it too rough. ``tables`` are sums.
    """
    any_table = next(iter(tables.values()))
    minutes = sorted(any_table["minutes"].unique())
    shown = [lead for lead in minutes if lead in (30, 60)] or minutes[-1:]
    figure = Figure(figsize=(4.2 * len(shown) + 1.6, 4.0), dpi=100, layout="constrained")
    axes = list(figure.subplots(1, len(shown), sharey=True, squeeze=False)[0])
    for ax, lead in zip(axes, shown, strict=True):
        ax.set_prop_cycle(color=COLOURS)
        for name, sums in {"observed": any_table, **tables}.items():
            at = sums[(sums["minutes"] == lead) & (sums["threshold"] == sums["threshold"].min())]
            of = "observed" if name == "observed" else "forecast"
            power = at[[power_column(of, wavelength) for wavelength in WAVELENGTHS_KM]].mean()
            power = power.where(power > 0)
            if power.notna().any():
                style = (
                    {"color": "black", "linewidth": 2.5} if name == "observed" else {"linestyle": _style(name, dashed)}
                )
                ax.plot(WAVELENGTHS_KM, power, label=name, marker=".", **style)
        ax.set_title(f"at {lead:g} minutes", fontsize=9)
        ax.set_xlabel("wavelength, km")
        ax.set_xscale("log")
        ax.set_xticks(WAVELENGTHS_KM, [f"{wavelength}" for wavelength in WAVELENGTHS_KM])
        ax.minorticks_off()
        ax.invert_xaxis()
        if ax.lines:
            ax.set_yscale("log")
    axes[0].set_ylabel("power spectral density, (mm/h)²")
    _save(figure, axes, path)


def draw_crps(scores: Tables, path: Path, dashed: Container[str]) -> None:
    """Draw CRPS against lead time.

    Parameters
    ----------
    scores : mapping of str to DataFrame
        Of :func:`pipelines.verification.probabilities.probability_scores`, by the method's name.
    """
    panel = {name: crps(of) for name, of in scores.items()}
    _draw_panels({"less is better": panel}, "CRPS, mm/h, pooled", path, dashed, (0, None))


def draw_brier_skill(scores: Tables, path: Path, dashed: Container[str]) -> None:
    """Draw Brier skill against lead time, one panel a rate of a few; parameters are those of :func:`draw_crps`."""
    panels = {
        f"at least {rate:g} mm/h": {name: of["brier_skill"].loc[rate] for name, of in scores.items()}
        for rate in few_rates(next(iter(scores.values())).index.unique("threshold"))
    }
    _draw_panels(panels, "Brier skill against climatology, pooled", path, dashed, (-0.5, 1))


def draw_reliability(tables: Tables, path: Path, dashed: Container[str]) -> None:
    """Draw how often came what was said, one panel a rate of a few, with intervals; below it how often it was said.

    Bins of less than 0.1 % of the pixels have no point. ``tables`` are sums; methods that say 0 and 1 alone are left
    out.
    """
    colours = dict(zip(tables, cycle(COLOURS), strict=False))  # the same as in the other pictures
    shown = {name: reliability(sums) for name, sums in tables.items() if sums["spread"].any()}
    rates = few_rates(next(iter(tables.values()))["threshold"])
    figure = Figure(figsize=(3.2 * len(rates) + 1.8, 4.6), dpi=100, layout="constrained")
    above, below = figure.subplots(2, len(rates), sharex=True, sharey="row", squeeze=False, height_ratios=[3, 1])
    for rate, ax, histogram in zip(rates, above, below, strict=True):
        ax.plot([0, 1], [0, 1], color="grey", linewidth=1)
        for name, of_method in shown.items():
            at = of_method.loc[rate]
            share = at["count"] / at["count"].sum()
            points = at[share >= RARE]
            # The value lies outside of its own interval where draws are few and skewed.
            bars = [(points["came"] - points["low"]).clip(lower=0), (points["high"] - points["came"]).clip(lower=0)]
            style = {"linestyle": _style(name, dashed), "marker": ".", "linewidth": 1, "color": colours[name]}
            ax.errorbar(points["said"], points["came"], bars, label=name, capsize=2, **style)
            histogram.plot(at["said"], share, **style)
        ax.set_title(f"at least {rate:g} mm/h", fontsize=9)
        ax.set_ylim(0, 1)
        histogram.set_yscale("log")
        histogram.set_ylim(RARE / 10, 1)
        histogram.set_xlabel("probability")
    above[0].set_ylabel("share that came")
    below[0].set_ylabel("share of pixels")
    _save(figure, above, path)


def _draw_panels(
    panels: Mapping[str, Mapping[str, pd.Series]],
    label: str,
    path: Path,
    dashed: Container[str],
    limits: tuple[float, float | None] = (0, 1),
) -> None:
    """Draw each panel's methods against lead time, under its title."""
    figure = Figure(figsize=(3.2 * len(panels) + 1.6, 3.4), dpi=100, layout="constrained")
    axes = list(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0])
    for ax, (title, of_methods) in zip(axes, panels.items(), strict=True):
        ax.set_prop_cycle(color=COLOURS)
        for name, of_lead in of_methods.items():
            ax.plot(of_lead.index, of_lead, _style(name, dashed), label=name, marker=".")
        ax.set_title(title, fontsize=9)
        ax.set_xlabel("lead time, minutes")
    axes[0].set_ylabel(label)
    axes[0].set_ylim(*limits)
    _save(figure, axes, path)


def _style(name: str, dashed: Container[str]) -> str:
    return "--" if name in dashed else "-"


def _save(figure: Figure, axes: Sequence[Axes], path: Path) -> None:
    handles, labels = axes[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, fontsize=8, loc="outside right upper")
    with atomic_path(path) as temporary:
        figure.savefig(temporary)
