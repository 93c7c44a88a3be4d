"""What Prefect's UI shows of a published forecast."""

import base64
import os
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

from PIL import Image
from prefect.artifacts import create_markdown_artifact

from pipelines.common.markdown import code, literal
from pipelines.common.text import printable
from pipelines.operation.products.attributes import ForecastAttributes
from pipelines.operation.products.latest import SOME, WHOLE
from pipelines.operation.products.names import COGS, MAPS, PAGE, PICTURE
from pipelines.operation.products.published import PublishedForecast
from pipelines.params.operation import Domain

WIDTH = 1000  # pixels; Prefect keeps every cycle's picture in its database


def model_of(attributes: ForecastAttributes) -> str:
    """Return in Markdown which model made a forecast, with a link if it is a version of the server's registry."""
    model = literal(f"{attributes.model_name} version {attributes.model_version or 'none'}")
    server = printable(os.environ.get("MLFLOW_TRACKING_URI", ""))
    # A folder's number is of the registry that it was exported from.
    of_registry = attributes.model_version is not None and attributes.model_uri.startswith("models:/")
    if not (of_registry and server.startswith("http")):
        return model
    place = f"models/{quote(attributes.model_name, '')}/versions/{quote(str(attributes.model_version), '')}"
    return f"[{model}]({server.rstrip('/')}/#/{place})"


def show_forecast(domain: Domain, published: PublishedForecast) -> None:
    """Make the artifact ``forecast-DOMAIN``: the picture, where the files are, and what they were made from."""
    attributes, minutes, folder = published.attributes, published.minutes, published.folder.resolve()
    rates = published.rates
    attrs = attributes.to_attrs()
    served = os.environ.get("SCS_PAGE_URL", "").rstrip("/")
    page = f"{served}/{domain.name}/" if served else (domain.out.resolve().parent / PAGE).as_uri()
    names = (*WHOLE.values(), *SOME.values(), COGS, MAPS)
    files = [f"[{name}]({(folder / name).as_uri()})" for name in names if (folder / name).exists()]
    lines = [
        f"![{literal(attributes.title)}]({_small(folder / PICTURE)})",
        "",
        f"- page: [{domain.name}]({page}#{domain.name})",
        f"- files: {', '.join(files)} in {literal(folder)}",
        f"- lead times: {minutes.size}, {minutes[0]:g} to {minutes[-1]:g} minutes",
        *([f"- probabilities: of at least {', '.join(f'{one:g}' for one in rates)} mm/h"] if rates else []),
        f"- model: {model_of(attributes)} ({literal(attributes.method)}), sha256 {code(attrs['model_sha256'][:12])}",
        f"- fallback: {literal(attrs['fallback'])}",
        f"- live store: {literal(domain.store.resolve())}, snapshot {code(attrs['live_store_snapshot'])}",
        f"- code: {code(attributes.code_commit)}",
        f"- missing frames: {literal(attrs['missing_frames'])}",
    ]
    lines += [
        f"- frame of {literal(frame.time)} UTC: {literal(frame.file)}, sha256 {code(frame.sha256[:12])}"
        for frame in attributes.input_frames
    ]
    create_markdown_artifact("\n".join(lines), key=f"forecast-{domain.name}", description=attributes.title)


def _small(picture: Path) -> str:
    """Return a small copy of a picture as a data URI: a page from the server may not load a file of the machine."""
    with Image.open(picture) as image:
        image.thumbnail((WIDTH, WIDTH))
        copy = BytesIO()
        image.convert("RGB").save(copy, "WEBP", quality=60)
    return f"data:image/webp;base64,{base64.b64encode(copy.getvalue()).decode()}"
