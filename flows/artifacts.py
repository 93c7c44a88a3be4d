"""What Prefect's UI shows of a published forecast."""

import base64
import json
import os
from io import BytesIO
from pathlib import Path

import xarray as xr
from PIL import Image
from prefect.artifacts import create_markdown_artifact

from pipelines.operation.products.dataset import NETCDF
from pipelines.operation.products.publish import ANIMATION, COGS, MAPS, PICTURE, ZARR

WIDTH = 1000  # pixels; Prefect keeps every cycle's picture in its database


def show_forecast(domain: str, folder: Path, store: str) -> None:
    """Make the artifact ``forecast-DOMAIN``: the picture, where the files are, and what they were made from.

    Parameters
    ----------
    domain : str
    folder : Path
        Where the forecast was published.
    store : str
        Folder of the live store.
    """
    with xr.open_dataset(folder / NETCDF, decode_timedelta=False) as forecast:
        said, leads = forecast.attrs, forecast["lead_time"].to_numpy() // 60
    model = f"{said['model_name']} version {said['model_version']}"
    server = os.environ.get("MLFLOW_TRACKING_URI", "")
    if server.startswith("http") and said["model_version"] != "none":
        model = f"[{model}]({server.rstrip('/')}/#/models/{said['model_name']}/versions/{said['model_version']})"
    folder = folder.resolve()
    files = [f"[{name}]({(folder / name).as_uri()})" for name in (NETCDF, ZARR, COGS, PICTURE, ANIMATION, MAPS)]
    lines = [
        f"![{said['title']}]({_small(folder / PICTURE)})",
        "",
        f"- files: {', '.join(files)} in {folder}",
        f"- lead times: {leads.size}, {leads[0]} to {leads[-1]} minutes",
        f"- model: {model} ({said['method']}), sha256 `{said['model_sha256'][:12]}`",
        f"- fallback: {said['fallback']}",
        f"- live store: {Path(store).resolve()}, snapshot `{said['live_store_snapshot']}`",
        f"- code: `{said['code_commit']}`",
        f"- missing frames: {said['missing_frames']}",
    ]
    lines += [
        f"- frame of {frame['time']} UTC: {frame['file']}, sha256 `{frame['sha256'][:12]}`"
        for frame in json.loads(said["input_frames"])
    ]
    create_markdown_artifact("\n".join(lines), key=f"forecast-{domain}", description=said["title"])


def _small(picture: Path) -> str:
    """Return a small copy of a picture as a data URI: a page from the server may not load a file of the machine."""
    with Image.open(picture) as image:
        image.thumbnail((WIDTH, WIDTH))
        copy = BytesIO()
        image.convert("RGB").save(copy, "WEBP", quality=60)
    return f"data:image/webp;base64,{base64.b64encode(copy.getvalue()).decode()}"
