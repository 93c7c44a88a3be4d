"""``latest.json``: in a domain's folder of forecasts, the newest one and the alarms that are on.

For whoever shows forecasts and has neither Prefect nor MLflow: one small file, whole whenever it is read.

=============  ====================================================================================================
``domain``     key of the section ``domains`` in params.yaml
``written``    when this file was, UTC
``forecast``   the newest that is published, see :func:`describe`; null before the first
``alarms``     a list of ``kind``, ``message`` and ``since``: those that are on now
=============  ====================================================================================================
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.common.files import exclusive, write_text
from pipelines.operation.products.names import (
    AMOUNTS,
    ANIMATION,
    AREAS_CSV,
    AREAS_JSON,
    COGS,
    MAPS,
    NETCDF,
    PICTURE,
    PROBABILITIES,
    ZARR,
    stamp,
)
from pipelines.operation.products.published import PublishedForecast
from pipelines.params.operation import Domain, LeftOut

LATEST = "latest.json"
WHOLE = {"netcdf": NETCDF, "zarr": ZARR, "picture": PICTURE, "animation": ANIMATION}
OF_PART: dict[str, LeftOut] = {"zarr": "zarr", "animation": "maps"}
SOME = {"probabilities": PROBABILITIES, "amounts": AMOUNTS, "areas_csv": AREAS_CSV, "areas_json": AREAS_JSON}
TEXTS = (
    *("title", "method", "model_name", "model_version", "model_sha256", "code_commit", "live_store_snapshot"),
    *("source", "fallback", "license", "attribution"),
)


def read_latest(out: Path) -> dict[str, Any]:
    """Read ``latest.json`` in the folder ``out``; with no forecast and no alarm where it isn't, or is damaged."""
    try:
        return json.loads((out / LATEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {"forecast": None, "alarms": []}


def update_latest(domain: Domain, *, forecast: dict[str, Any] | None = None, alarms: Mapping[str, str | None]) -> None:
    """Write a domain's ``latest.json`` anew: what is not given stays as it was.

    Parameters
    ----------
    forecast : dict, optional
        From :func:`describe`.
    alarms : mapping of str to str or None
        Message of each kind of alarm that is on; None turns a kind off. Kinds that aren't named stay as they are.
    """
    out = domain.out
    with exclusive(out / f".{LATEST}.lock"):
        before = read_latest(out)
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        since = {one["kind"]: one["since"] for one in before["alarms"]}
        kept = [one for one in before["alarms"] if one["kind"] not in alarms]
        on = [
            {"kind": kind, "message": message, "since": since.get(kind, now)}
            for kind, message in alarms.items()
            if message is not None
        ]
        content = {
            "domain": domain.name,
            "written": now,
            "forecast": forecast or before["forecast"],
            "alarms": sorted(kept + on, key=lambda one: one["kind"]),
        }
        write_text(out / LATEST, json.dumps(content, indent=1))


def describe(published: PublishedForecast, leave_out: Sequence[LeftOut] = ()) -> dict[str, Any]:
    """Return what a published forecast is: times, model, policy and what came of it, and its files.

    Files are named relative to the folder above the cycle's, where ``latest.json`` is; see
    `pipelines.operation.products.publish` for what they are.
    """
    folder, attributes = published.folder, published.attributes
    attrs, parts = attributes.to_attrs(), attributes.model_dump()
    maps = [path for kind in ("observed", "forecast") for path in sorted(folder.glob(f"{MAPS}/{kind}_*.png"))]
    return {
        "folder": folder.name,
        "reference_time": _clock(published.reference),
        **{name: attrs[name] for name in TEXTS},
        **{name: parts[name] for name in ("policy", "input_frames", "missing_frames")},
        "files": {
            **{
                kind: f"{folder.name}/{name}"
                for kind, name in (WHOLE | SOME).items()
                if (kind in WHOLE and OF_PART.get(kind) not in leave_out) or (folder / name).exists()
            },
            "maps": [path.relative_to(folder.parent).as_posix() for path in maps],
            "geotiffs": {
                name: [
                    {"valid_time": _clock(time), "file": f"{folder.name}/{COGS}/{name}_{stamp(time)}.tif"}
                    for time in times
                ]
                for name, times in published.times.items()
                if "geotiffs" not in leave_out
            },
        },
    }


def _clock(time: np.datetime64) -> str:
    return f"{np.datetime_as_string(time, 's')}Z"
