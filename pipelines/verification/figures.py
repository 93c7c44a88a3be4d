"""Pictures of scores against lead time, and of spectra."""

from collections.abc import Container, Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipelines.common.files import atomic_path
from pipelines.verification.bootstrap import Tables
from pipelines.verification.scoring import SCALES_KM
from pipelines.verification.spatial import WAVELENGTHS_KM, power_column
from pipelines.verification.table import fss_threshold


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


def _draw_panels(panels: Mapping[str, Mapping[str, pd.Series]], label: str, path: Path, dashed: Container[str]) -> None:
    """Draw each panel's methods against lead time, under its title."""
    figure = Figure(figsize=(3.2 * len(panels) + 1.6, 3.4), dpi=100, layout="constrained")
    axes = list(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0])
    for ax, (title, of_methods) in zip(axes, panels.items(), strict=True):
        for name, of_lead in of_methods.items():
            ax.plot(of_lead.index, of_lead, _style(name, dashed), label=name, marker=".")
        ax.set_title(title, fontsize=9)
        ax.set_xlabel("lead time, minutes")
    axes[0].set_ylabel(label)
    axes[0].set_ylim(0, 1)
    _save(figure, axes, path)


def _style(name: str, dashed: Container[str]) -> str:
    return "--" if name in dashed else "-"


def _save(figure: Figure, axes: Sequence[Axes], path: Path) -> None:
    handles, labels = axes[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, fontsize=8, loc="outside right upper")
    with atomic_path(path) as temporary:
        figure.savefig(temporary)
