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
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from pipelines.atomic import whole
from pipelines.lock import exclusive

LATEST = "latest.json"
SAID = (
    *("title", "method", "model_name", "model_version", "model_sha256", "code_commit", "live_store_snapshot"),
    *("policy", "fallback", "missing_inputs", "stand_ins"),
)


def read_latest(out: Path) -> dict[str, Any]:
    """Read ``latest.json`` in the folder ``out``; without a forecast and alarms where there is none yet."""
    try:
        return json.loads((out / LATEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"forecast": None, "alarms": []}


def update_latest(
    out: Path, domain: str, *, forecast: dict[str, Any] | None = None, alarms: Mapping[str, str | None]
) -> None:
    """Write ``latest.json`` anew: what is not given stays as it was.

    Parameters
    ----------
    out : Path
        The domain's folder of forecasts.
    domain : str
    forecast : dict, optional
        From :func:`describe`.
    alarms : mapping of str to str or None
        Message of each kind of alarm that is on; None turns a kind off. Kinds that aren't named stay as they are.
    """
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
            "domain": domain,
            "written": now,
            "forecast": forecast or before["forecast"],
            "alarms": sorted(kept + on, key=lambda one: one["kind"]),
        }
        with whole(out / LATEST) as temporary:
            temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")


def describe(folder: Path, netcdf: str) -> dict[str, Any]:
    """Say what a published forecast is: times, model, policy and what came of it, and its files.

    Parameters
    ----------
    folder : Path
        Of the cycle. Files are named relative to the folder above it, where ``latest.json`` is.
    netcdf : str
        Name of its netCDF, whose attributes are asked.
    """
    with xr.open_dataset(folder / netcdf, decode_timedelta=False) as dataset:
        reference = np.datetime64(dataset["forecast_reference_time"].item(), "ns")
        said = {name: dataset.attrs[name] for name in SAID}
        valid = dataset["time"].to_numpy()
        inputs = json.loads(dataset.attrs["input_frames"])
    return {
        "folder": folder.name,
        "reference_time": _clock(reference),
        "valid_times": [_clock(time) for time in valid],
        **said,
        "policy": json.loads(said["policy"]),
        "input_frames": inputs,
        "files": [f"{folder.name}/{name}" for name in sorted(path.name for path in folder.iterdir())],
    }


def _clock(time: np.datetime64) -> str:
    return f"{np.datetime_as_string(time, 's')}Z"
