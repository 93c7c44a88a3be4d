"""What Prefect's UI shows of a published forecast."""

import base64
import json
import os
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

import xarray as xr
from PIL import Image
from prefect.artifacts import create_markdown_artifact

from pipelines.common.markdown import code, literal
from pipelines.common.text import printable
from pipelines.operation.products.dataset import NETCDF
from pipelines.operation.products.publish import ANIMATION, COGS, MAPS, PICTURE, ZARR
from pipelines.params.operation import Domain

WIDTH = 1000  # pixels; Prefect keeps every cycle's picture in its database


def show_forecast(domain: Domain, folder: Path) -> None:
    """Make the artifact ``forecast-DOMAIN``: the picture, where the files are, and what they were made from.

    Parameters
    ----------
    domain : Domain
    folder : Path
        Where the forecast was published.
    """
    with xr.open_dataset(folder / NETCDF, decode_timedelta=False) as forecast:
        said, leads = forecast.attrs, forecast["lead_time"].to_numpy() // 60
    model = literal(f"{said['model_name']} version {said['model_version']}")
    server = printable(os.environ.get("MLFLOW_TRACKING_URI", ""))
    if server.startswith("http") and said["model_version"] != "none":
        page = f"models/{quote(said['model_name'], '')}/versions/{quote(said['model_version'], '')}"
        model = f"[{model}]({server.rstrip('/')}/#/{page})"
    folder = folder.resolve()
    files = [f"[{name}]({(folder / name).as_uri()})" for name in (NETCDF, ZARR, COGS, PICTURE, ANIMATION, MAPS)]
    lines = [
        f"![{literal(said['title'])}]({_small(folder / PICTURE)})",
        "",
        f"- files: {', '.join(files)} in {literal(folder)}",
        f"- lead times: {leads.size}, {leads[0]} to {leads[-1]} minutes",
        f"- model: {model} ({literal(said['method'])}), sha256 {code(said['model_sha256'][:12])}",
        f"- fallback: {literal(said['fallback'])}",
        f"- live store: {literal(domain.store.resolve())}, snapshot {code(said['live_store_snapshot'])}",
        f"- code: {code(said['code_commit'])}",
        f"- missing frames: {literal(said['missing_frames'])}",
    ]
    lines += [
        f"- frame of {literal(frame['time'])} UTC: {literal(frame['file'])}, sha256 {code(frame['sha256'][:12])}"
        for frame in json.loads(said["input_frames"])
    ]
    create_markdown_artifact("\n".join(lines), key=f"forecast-{domain.name}", description=said["title"])


def _small(picture: Path) -> str:
    """Return a small copy of a picture as a data URI: a page from the server may not load a file of the machine."""
    with Image.open(picture) as image:
        image.thumbnail((WIDTH, WIDTH))
        copy = BytesIO()
        image.convert("RGB").save(copy, "WEBP", quality=60)
    return f"data:image/webp;base64,{base64.b64encode(copy.getvalue()).decode()}"
