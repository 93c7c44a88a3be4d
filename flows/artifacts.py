"""What Prefect's UI shows of a published forecast."""

import base64
import json
import os
from io import BytesIO
from pathlib import Path

import xarray as xr
from PIL import Image
from prefect.artifacts import create_image_artifact, create_markdown_artifact

from pipelines.product import NETCDF, PICTURE

WIDTH = 1000  # pixels; Prefect keeps every cycle's picture in its database


def show_forecast(domain: str, folder: Path, forecast: xr.Dataset, store: str) -> None:
    """Make two artifacts: ``forecast-DOMAIN`` says what there is and what it was made from; ``picture-DOMAIN`` is seen.

    Parameters
    ----------
    domain : str
    folder : Path
        Where the forecast was published.
    forecast : Dataset
        From :func:`pipelines.forecast.forecast`.
    store : str
        Folder of the live store.
    """
    said = forecast.attrs
    model = f"{said['model_name']} version {said['model_version']}"
    server = os.environ.get("MLFLOW_TRACKING_URI", "")
    if server.startswith("http") and said["model_version"] != "none":
        model = f"[{model}]({server.rstrip('/')}/#/models/{said['model_name']}/versions/{said['model_version']})"
    files = {name: (folder / name).resolve() for name in (NETCDF, PICTURE)}
    leads = forecast["lead_time"].to_numpy() // 60
    rows = {
        "forecast": f"[{files[NETCDF]}]({files[NETCDF].as_uri()})",
        "picture": f"[{files[PICTURE]}]({files[PICTURE].as_uri()})",
        "lead times": f"{leads[0]} to {leads[-1]} minutes, {leads.size} of them",
        "model": f"{model}, {said['method']}, sha256 `{said['model_sha256'][:12]}`",
        "live store": f"{Path(store).resolve()}, snapshot `{said['live_store_snapshot']}`",
        "code": f"`{said['code_commit']}`",
    }
    for frame in json.loads(said["input_frames"]):
        rows[f"frame of {frame['time']}"] = f"{frame['file']}, sha256 `{frame['sha256'][:12]}`"
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    markdown = f"| {said['title']} | |\n|---|---|\n{table}"
    create_markdown_artifact(markdown, key=f"forecast-{domain}", description=said["title"])
    create_image_artifact(
        _small(files[PICTURE]), key=f"picture-{domain}", description=f"{said['title']}, {said['source']}"
    )


def _small(picture: Path) -> str:
    """Give a small copy of a picture as a data URI: a page from the server may not load a file of the machine."""
    with Image.open(picture) as image:
        image.thumbnail((WIDTH, WIDTH))
        copy = BytesIO()
        image.convert("RGB").save(copy, "WEBP", quality=60)
    return f"data:image/webp;base64,{base64.b64encode(copy.getvalue()).decode()}"
