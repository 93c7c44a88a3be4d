"""What is in a store of frames: extent, times, gaps, rain over time and quarantine, as text and as one HTML page."""

import base64
from collections.abc import Sequence
from dataclasses import fields
from html import escape
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from pipelines.common.errors import as_unreadable
from pipelines.common.files import write_text
from pipelines.common.limits import Limits
from pipelines.common.progress import track
from pipelines.common.rights import Rights
from pipelines.common.text import printable
from pipelines.common.workers import guarded
from pipelines.radar.cf_grid import grid_of
from pipelines.radar.clock import missing_times, usual_step
from pipelines.radar.decoding import is_store_of_frames
from pipelines.radar.maps import draw_maps
from pipelines.radar.quality import WET_RATE, Quality, describe
from pipelines.radar.quality_table import tables_of
from pipelines.radar.store import open_frames

MOST_ROWS = 30  # of a table on the page
STYLE = """body{font:15px/1.45 system-ui,sans-serif;max-width:1000px;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:.5em 0 1.5em}td,th{padding:.2em 1em .2em 0;text-align:left;vertical-align:top;
border-bottom:1px solid #ddd}img{max-width:100%}h1{font-size:1.5em}h2{font-size:1.15em;margin-top:1.6em}"""

Rows = Sequence[tuple[str, ...]]


def inspect_store(store: Path, page: Path, limits: Limits = Limits()) -> str:  # noqa: B008 - frozen
    """Write the HTML page about ``store`` and give the same as text, without pictures.

    Raises
    ------
    UserError
        If there is no store of frames, or one that leads out of itself or is too large.
    """
    guarded(is_store_of_frames, store, limits=limits)  # it may be someone else's
    dataset = open_frames(store)
    with as_unreadable(store):
        grid_of(dataset)
    quarantine_table, quality_table = tables_of(store)
    quality = _quality(dataset, quality_table)
    facts, gaps = _facts(dataset, quality), find_gaps(dataset)
    rejected = pd.read_csv(quarantine_table, dtype=str) if quarantine_table.is_file() else None
    reasons = _reasons(rejected)
    write_text(page, _page(store, dataset, quality, facts, gaps, rejected, reasons))
    lines = [f"{store}", *(f"  {name:<14} {value}" for name, value in facts)]
    lines += [f"  gap            {before} to {after}: {missing}" for before, after, missing in gaps[:MOST_ROWS]]
    lines += [f"  ... and {len(gaps) - MOST_ROWS} more gaps"] if len(gaps) > MOST_ROWS else []
    lines += [f"  quarantine     {count:>5}  {reason}" for count, reason in reasons[:MOST_ROWS]]
    return "\n".join(map(printable, [*lines, f"  page           {page}"]))


def find_gaps(dataset: xr.Dataset) -> list[tuple[str, str, str]]:
    """List the neighbouring times that are further apart than usual, and how many frames are missing between."""
    time = dataset["time"].to_numpy().astype("datetime64[s]")
    if time.size < 3:
        return []
    step = np.timedelta64(usual_step(time), "s")
    wide = np.flatnonzero(np.diff(time) > step)
    found = []
    for i in wide:
        missing = (time[i + 1] - time[i]) / step - 1
        words = f"{missing:.0f} missing" if missing == round(missing) else f"{missing:.1f} steps without a frame"
        found.append((str(time[i]), str(time[i + 1]), words))
    return found


def _quality(dataset: xr.Dataset, table: Path) -> pd.DataFrame:
    """Return the quality table of the store; made from the frames where there is none that fits."""
    times = dataset["time"].to_numpy().astype("datetime64[s]")
    if table.is_file():
        found = pd.read_csv(table, parse_dates=["time"])
        complete = {field.name for field in fields(Quality)} <= set(found.columns)
        if complete and np.array_equal(found["time"].to_numpy().astype("datetime64[s]"), times):
            return found
    rain = dataset["rainfall_flux"]
    rows = []
    for i in track(range(times.size), "read frames"):
        rain_rate = rain[i].to_numpy()
        known = np.isfinite(rain_rate).any()
        rows.append(describe(rain_rate, float(np.nanmax(rain_rate)) if known else np.nan, 0))
    return pd.DataFrame(rows).assign(time=times)


def _facts(dataset: xr.Dataset, quality: pd.DataFrame) -> Rows:
    grid, time = grid_of(dataset), dataset["time"].to_numpy().astype("datetime64[s]")
    lon, lat = dataset["lon"].to_numpy(), dataset["lat"].to_numpy()
    dy, dx = grid.spacing
    unit = "m" if grid.crs.is_projected else "°"
    rain = dataset["rainfall_flux"].attrs
    step = f"every {usual_step(time) / 60:g} minutes" if time.size > 1 else "one frame"
    absent = missing_times(time)
    missing = f", {absent.size} missing between the first and the last" if absent is not None else ", irregular"
    # A CRS with a shift to WGS84 says what the shift is, and its source what the projection is.
    operation = (grid.crs.source_crs if grid.crs.is_bound and grid.crs.source_crs else grid.crs).coordinate_operation
    projection = operation.method_name if operation else "latitude and longitude"
    valid, wet, highest = quality["valid_share"], quality["wet_share"], quality["maximum"]
    clipped = quality["clipped"]
    facts = [
        ("frames", f"{time.size}, {step}{missing}"),
        ("time", f"{time[0]} to {time[-1]} UTC, the {dataset['time'].attrs['time_is']} of each measurement"),
        ("grid", f"{grid.shape[0]}×{grid.shape[1]} pixels of {dy:g}×{dx:g} {unit}, {projection}"),
        ("extent", f"{lon.min():.3f} to {lon.max():.3f}° E, {lat.min():.3f} to {lat.max():.3f}° N (pixel centres)"),
        ("valid", f"{_percent(valid.mean())} of the pixels on average, {_percent(valid.min())} at least"),
        ("wet", f"{_percent(wet.mean())} of the valid pixels from {WET_RATE:g} mm/h, {_percent(wet.max())} at most"),
        ("rain", f"{quality['mean'].mean():.3g} mm/h on average over time and valid pixels"),
        ("highest", f"{highest.max():.4g} mm/h, at {time[highest.argmax()]} UTC"),
        ("too high", f"{clipped.sum()} pixels in {(clipped > 0).sum()} frames, clipped or masked"),
        ("licence", "; ".join(Rights.of(dataset.attrs).to_attrs().values())),
    ]
    if counts := _radars_out(quality):
        facts.append(("radars out", counts))
    if "z_r_a" in rain:
        facts.append(("Z–R", f"Z = {rain['z_r_a']:g} R^{rain['z_r_b']:g}, from reflectivity"))
    return facts


def _radars_out(quality: pd.DataFrame) -> str:
    """Return which radars were out in how many frames, the most often first; empty if none was, or none is known."""
    if "radars_out" not in quality:
        return ""
    counts = quality["radars_out"].fillna("").astype(str).str.split("; ").explode().value_counts()
    return ", ".join(f"{name} in {count} frames" for name, count in counts.items() if name)


def _reasons(rejected: pd.DataFrame | None) -> Rows:
    """Reasons of the quarantine, the most frequent first, numbers in them put together."""
    if rejected is None or rejected.empty:
        return []
    kinds = rejected["reason"].str.replace(r"\d+(\.\d+)?", "…", regex=True)
    counts = kinds.value_counts()
    first = rejected.groupby(kinds)["reason"].first()
    return [(str(counts[kind]), first[kind] if counts[kind] == 1 else kind) for kind in counts.index]


def _page(
    store: Path,
    dataset: xr.Dataset,
    quality: pd.DataFrame,
    facts: Rows,
    gaps: Rows,
    rejected: pd.DataFrame | None,
    reasons: Rows,
) -> str:
    parts = [
        f"<h1>{_text(store.name)}</h1>",
        _table((), facts),
        "<h2>Rain over time</h2>",
        _picture(_series(quality), "rain, wet and valid share, and the highest rain rate over time"),
        "<h2>The wettest frames, and the driest</h2>",
        _picture(_maps(dataset, quality), "maps of rain rate"),
        f"<h2>Gaps ({len(gaps)})</h2>",
        _table(("last before", "first after", ""), gaps) if gaps else "<p>None: no frame is missing.</p>",
    ]
    if rejected is None:
        parts.append("<h2>Quarantine</h2><p>No quarantine table beside the store.</p>")
    else:
        parts.append(f"<h2>Quarantine ({len(rejected)})</h2>")
        files = list(rejected.itertuples(index=False, name=None))
        parts += (
            [_table(("files", "reason"), reasons), _table(("file", "reason"), files)] if files else ["<p>None.</p>"]
        )
    title = _text(store.name)
    return (
        f"<!DOCTYPE html>\n<html lang=en><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>\n"
        + "\n".join(parts)
    )


def _table(head: tuple[str, ...], rows: Rows) -> str:
    cells = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows[:MOST_ROWS])
    more = f"<p>… and {len(rows) - MOST_ROWS} more</p>" if len(rows) > MOST_ROWS else ""
    titles = "<tr>" + "".join(f"<th>{_text(name)}</th>" for name in head) + "</tr>" if head else ""
    return f"<table>{titles}{cells}</table>{more}"


def _text(text: object) -> str:
    """Return text from outside as HTML that shows it as it is."""
    return escape(printable(text))


def _picture(png: bytes, words: str) -> str:
    return f'<img alt="{words}" src="data:image/png;base64,{base64.b64encode(png).decode("ascii")}">'


def _series(quality: pd.DataFrame) -> bytes:
    """Draw the quality table over time; lines break at gaps, which are grey."""
    time = quality["time"].to_numpy().astype("datetime64[s]")
    rows = [
        ("mean", "mean rain,\nmm/h", 1.0),
        ("maximum", "highest,\nmm/h", 1.0),
        ("wet_share", "wet, %", 100.0),
        ("valid_share", "valid, %", 100.0),
    ]
    step = np.timedelta64(usual_step(time) if time.size > 1 else 0, "s")
    breaks = np.flatnonzero(np.diff(time) > step) + 1
    figure = Figure(figsize=(10, 6.5), dpi=110, layout="constrained")
    axes = figure.subplots(len(rows), 1, sharex=True)
    for ax, (name, label, factor) in zip(axes, rows, strict=True):
        for piece in np.split(np.arange(time.size), breaks):
            style = "." if piece.size == 1 else "-"
            ax.plot(time[piece], quality[name].to_numpy()[piece] * factor, style, color="#2171b5", lw=1, ms=3)
        for i in breaks:
            ax.axvspan(time[i - 1], time[i], color="#d9d9d9", lw=0)
        ax.set_ylabel(label, fontsize=9)
        ax.tick_params(labelsize=8)
        ax.margins(x=0.01)
        ax.set_ylim(0, 1.06 * max(quality[name].max() * factor, 1e-3))
    locator = AutoDateLocator()
    axes[-1].xaxis.set_major_locator(locator)
    axes[-1].xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes[-1].set_xlabel("UTC; grey: no frames", fontsize=9)
    stream = BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


def _maps(dataset: xr.Dataset, quality: pd.DataFrame) -> bytes:
    """Draw the three frames with the most rain, an hour apart if possible, and the one with the least."""
    order = np.argsort(-quality["mean"].to_numpy(), kind="stable")
    time = quality["time"].to_numpy().astype("datetime64[s]")
    chosen: list[int] = []
    for apart in (np.timedelta64(1, "h"), np.timedelta64(1, "s")):
        for i in order:
            if len(chosen) < 3 and all(abs(time[i] - time[j]) >= apart for j in chosen):
                chosen.append(int(i))
    if int(order[-1]) not in chosen:
        chosen.append(int(order[-1]))
    frames = [dataset["rainfall_flux"][i].to_numpy() for i in chosen]
    stream = BytesIO()
    draw_maps({"": frames}, [f"{time[i]}" for i in chosen], grid_of(dataset), "", stream)
    return stream.getvalue()


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
