"""Annotated images made for the tests, in each layout, and a small store of crops."""

import base64
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from conftest import REPOSITORY
from PIL import Image

from pipelines.images.ingest import ingest_images
from pipelines.images.simulate import simulate_images
from pipelines.params.images import IngestImages, SimulateImages

SQUARE = [[10, 10], [30, 10], [30, 30], [10, 30]]
HEIGHT, WIDTH = 40, 60


def ingest_params(**changes: Any) -> IngestImages:
    """The repository's section ingest_images, but for what is given."""
    return IngestImages(**yaml.safe_load((REPOSITORY / "params.yaml").read_text())["ingest_images"] | changes)


def small_store(folder: Path, **changes: Any) -> Path:
    """Simulate and ingest 4 cities × 2 scenes × 6 objects; test is the last city."""
    sizes = {"seed": 1, "cities": 4, "scenes": 2, "objects": 6, "height": 96} | changes
    simulate_images(folder / "raw", SimulateImages(**sizes))
    store = folder / "crops.zarr"
    ingest_images(folder / "raw", store, folder / "quarantine.csv", ingest_params())
    return store


def picture(seed: int) -> Image.Image:
    """Smooth colours, each picture's its own."""
    few = np.random.default_rng(seed).integers(0, 256, (4, 6, 3)).astype(np.uint8)
    return Image.fromarray(few).resize((WIDTH, HEIGHT))


def write_picture(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(seed).save(path)
    return path


def write_json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def write_cityscapes(raw: Path, split: str, city: str, number: int, objects: list[tuple[str, Any]]) -> None:
    """Write an image and its polygons: of each object label and vertices."""
    name = f"{city}_{number:06d}_000019"
    write_picture(raw / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", 10 * sum(city.encode()) + number)
    told = [{"label": label, "polygon": polygon} for label, polygon in objects]
    content = {"imgHeight": HEIGHT, "imgWidth": WIDTH, "objects": told}
    write_json(raw / "gtFine" / split / city / f"{name}_gtFine_polygons.json", content)


def flat(points: list[list[float]]) -> list[float]:
    """Return vertices as COCO has them."""
    return [value for point in points for value in point]


def coco(names: list[str], annotations: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a COCO file of images, numbered from 0, and annotations; what isn't given is that of a square."""
    plain = {"image_id": 0, "category_id": 1, "iscrowd": 0, "segmentation": [flat(SQUARE)], "bbox": [10, 10, 20, 20]}
    return {
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "images": [{"id": i, "file_name": name, "height": HEIGHT, "width": WIDTH} for i, name in enumerate(names)],
        "annotations": [{"id": 100 + i} | plain | one for i, one in enumerate(annotations)],
    }


def labelme(shapes: list[dict[str, Any]], image: str = "", embedded: int | None = None) -> dict[str, Any]:
    """Return a labelme file; with ``embedded``, the picture of this seed is in it."""
    content = BytesIO()
    if embedded is not None:
        picture(embedded).save(content, "PNG")
    plain = {"label": "cat", "points": SQUARE, "shape_type": "polygon", "group_id": None, "flags": {}}
    return {
        "version": "5.4.1",
        "flags": {},
        "shapes": [plain | shape for shape in shapes],
        "imagePath": image,
        "imageData": base64.b64encode(content.getvalue()).decode() or None,
        "imageHeight": HEIGHT,
        "imageWidth": WIDTH,
    }
