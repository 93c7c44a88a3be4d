"""The page ``index.html`` beside the domains' folders of forecasts, and its values, written whole or not at all.

==============================  =======================================================================================
``index.html``, ``.css``, ``.js``  the page itself; its only values are the names of the domains
``OUT/page/state.js``           what ``latest.json`` says: the newest forecast, how it was made, the alarms
``OUT/page/scores.js``          scores of the last days by lead time
``OUT/page/STAMP/map.js``       where the pixels of a forecast are, its layers and their times
``OUT/page/STAMP/NAME.js``      a field each, see `pipelines.operation.page.layers`
==============================  =======================================================================================

The newest forecast's map is there, and the one before, for pages that are open. All can be made again from what is
published.
"""

import json
import shutil
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from pipelines.common.errors import UserError, as_user_error
from pipelines.common.files import atomic_path, exclusive, write_text
from pipelines.operation.live_store import LiveStore
from pipelines.operation.page.layers import write_layers
from pipelines.operation.page.place import place_of
from pipelines.operation.page.scales import SCALES
from pipelines.operation.page.scores import scores_by_lead
from pipelines.operation.page.script import script
from pipelines.operation.products.latest import TEXTS, read_latest
from pipelines.operation.products.names import NETCDF, STAMP
from pipelines.operation.products.names import PAGE as INDEX
from pipelines.operation.products.published import opened
from pipelines.params.operation import Domain
from pipelines.radar.cf_grid import grid_of
from pipelines.radar.frame import Frame
from pipelines.radar.store import frames_of

PAGE = "page"
PARTS = (INDEX, "index.css", "index.js")
OURS = "scs-nowcast"  # in each of the parts: others of these names are of another page
KEPT = 2  # maps: an open page may still want those of the one before
SHOWN = (*TEXTS, "folder", "reference_time", "missing_frames")


def update_page(domain: Domain, domains: Iterable[Domain], *, scores: bool = False) -> None:
    """Bring the page in line with a domain's ``latest.json``; its map is made where it isn't there yet.

    Parameters
    ----------
    domain : Domain
    domains : iterable of Domain
        All that there are: those whose folder lies beside this one's are on the same page.
    scores : bool
        Whether to bring those in line with the ledger, too.

    Raises
    ------
    UserError
        If the forecast can't be read, or ``index.html`` is another's; what else is new is written all the same.
    """
    page = domain.out / PAGE
    with exclusive(page / ".lock"):
        latest = read_latest(domain.out)
        forecast = latest["forecast"]
        try:
            if forecast and not _has_map(domain, forecast["folder"]):
                _write_map(domain, forecast["folder"])
            if scores:
                told = scores_by_lead(domain.out, domain.skill_days)
                write_text(page / "scores.js", script(f"{domain.name}/scores", told))
        finally:
            write_text(page / "state.js", script(f"{domain.name}/state", _state(domain, latest)))
            write_index(domain.out.parent, domains)


def beside(folder: Path, domains: Iterable[Domain]) -> list[Domain]:
    """Return the domains whose folders of forecasts lie in ``folder``."""
    return [one for one in domains if one.out.absolute().parent == folder.absolute()]


def write_index(folder: Path, domains: Iterable[Domain]) -> None:
    """Write the page of the domains whose folders lie in ``folder``; raises UserError if there is another's."""
    names = [[one.name, one.out.name] for one in beside(folder, domains)]
    there = {
        path: path.read_text(encoding="utf-8", errors="replace") for name in PARTS if (path := folder / name).exists()
    }
    for path, found in there.items():
        if OURS not in found:
            raise UserError(f"{path}: not of a page of ours, so it stays as it is")
    for name in PARTS:
        text = Path(__file__).with_name(name).read_text(encoding="utf-8")
        if name == INDEX:
            text = text.replace("{domains}", escape(json.dumps(names)))
        if there.get(folder / name) != text:
            write_text(folder / name, text)


def _state(domain: Domain, latest: dict[str, Any]) -> dict[str, Any]:
    forecast = latest["forecast"]
    return {
        "written": latest.get("written"),
        "alarms": latest["alarms"],
        "silent_minutes": domain.silent_minutes,
        "forecast": forecast
        and {name: forecast[name] for name in SHOWN if name in forecast}
        | {"files": {kind: file for kind, file in forecast["files"].items() if isinstance(file, str)}},
    }


def _has_map(domain: Domain, name: str) -> bool:
    """Whether a forecast has a map that was made of it: of one that was made again, the map is too old."""
    drawn, forecast = domain.out / PAGE / name / "map.js", domain.out / name / NETCDF
    if not (drawn.exists() and forecast.exists()):
        return drawn.exists()
    return drawn.stat().st_mtime_ns >= forecast.stat().st_mtime_ns


def _write_map(domain: Domain, name: str) -> None:
    page = domain.out / PAGE
    # What can't be written is no fault of the file that is read meanwhile.
    with (
        opened(domain.out / name) as forecast,
        as_user_error(f"{page / name}"),
        atomic_path(page / name, durable=False, names=STAMP) as folder,
    ):
        folder.mkdir()
        grid = grid_of(forecast)
        layers = write_layers(forecast, _observed(domain, forecast), folder, f"{domain.name}/{name}")
        (folder / "map.js").write_text(
            script(f"{domain.name}/{name}/map", layers | place_of(grid) | {"scales": SCALES}), encoding="ascii"
        )
    maps = sorted(page.glob("*/map.js"), key=lambda one: one.stat().st_mtime)
    for old in maps[:-KEPT]:
        shutil.rmtree(old.parent)


def _observed(domain: Domain, forecast: xr.Dataset) -> Iterator[Frame]:
    """Yield the observed frames up to the reference time, of as long as the forecast is; none if there is no store."""
    reference = forecast["forecast_reference_time"].to_numpy()
    first = reference - np.timedelta64(int(forecast["lead_time"][-1]), "s")
    try:
        stored = LiveStore.of(domain).open()
    except UserError:
        return
    times, grid = stored["time"].to_numpy(), grid_of(forecast)
    for time in times[(times >= first) & (times <= reference)]:
        (frame,) = frames_of(stored.sel(time=[time]))
        if frame.grid.difference(grid) is None:
            yield frame
