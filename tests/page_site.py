"""A page of forecasts for tests: small simulated rain in a live store, published, and the page of it."""

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from archive import moving_cells
from domains import domain_in
from small_model import loaded

from pipelines.common.rights import Rights
from pipelines.nowcast.registered_model import LoadedModel
from pipelines.operation.forecast import forecast
from pipelines.operation.live_store import LiveStore
from pipelines.operation.page.write import update_page
from pipelines.operation.products.latest import describe, update_latest
from pipelines.operation.products.names import NETCDF, PICTURE, stamp
from pipelines.operation.products.published import read_published
from pipelines.operation.sources import of_store
from pipelines.params.operation import Domain
from pipelines.radar.frame import Frame

FRAMES = moving_cells("2024-06-01T11:30", 8, shape=(40, 50))
REFERENCE = "20240601T120500Z"


def site(folder: Path, frames: Sequence[Frame] = FRAMES, model: LoadedModel | None = None, **asked: Any) -> Domain:
    """Publish a forecast from the newest of the frames and write its page; gives the domain."""
    domain = domain_in(folder, silent_minutes=None)
    live = LiveStore(domain.store, Rights("CC0-1.0"))
    live.append(list(frames))
    source = of_store(live.open(), "live")
    minutes = asked.pop("minutes", 30)
    result, observed = forecast(source, lambda: model or loaded("persistence"), domain.policy, minutes=minutes, **asked)
    cycle = domain.out / stamp(observed[-1].time)
    cycle.mkdir(parents=True)
    result.to_netcdf(cycle / NETCDF, engine="netcdf4")  # of its files the one that the page reads
    (cycle / PICTURE).touch()
    update_latest(domain, forecast=describe(read_published(cycle), ["zarr", "geotiffs", "maps"]), alarms={})
    update_page(domain, [domain], scores=True)
    return domain


def values(script: Path) -> Any:
    """What a script hands to the page: after the name, JSON in between the brackets."""
    text = script.read_text(encoding="ascii")
    assert text.startswith("scs.give(") and text.endswith(");\n")
    name, value = json.loads(f"[{text[9:-3]}]")
    assert name
    return value


def codes(script: Path, shape: tuple[int, int]) -> np.ndarray:
    """The bytes of a field, as Python unpacks them."""
    return np.frombuffer(zlib.decompress(base64.b64decode(values(script))), np.uint8).reshape(shape)


def page_map(domain: Domain, cycle: str = REFERENCE) -> dict[str, Any]:
    return values(domain.out / "page" / cycle / "map.js")


def noisy(frames: Sequence[Frame], seed: int = 0) -> list[Frame]:
    """The same frames with rain of no pattern everywhere, which packs worst."""
    rng = np.random.default_rng(seed)
    return [replace(one, rain_rate=rng.lognormal(1, 1, one.rain_rate.shape).astype(np.float32)) for one in frames]
