"""Polygons as files of annotation tools: labelme's JSON, COCO's, GeoJSON."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.common.errors import UserError
from pipelines.common.files import write_text
from pipelines.outline.grid_polygon import signed_area

Format = Literal["labelme", "coco", "geojson"]
LABELME = "5.5.0"  # version of the layout
GENERATOR = "generator"  # key that says whose a file is


class Annotated(NamedTuple):
    """An object with its polygon, in pixels of its image.

    Parameters
    ----------
    class_name : str
    box : sequence of 4 floats
        x0, y0, x1, y1, as asked for.
    points : ndarray of shape (n, 2)
        Clockwise as one sees it.
    closed : bool
        Whether the network closed it by itself.
    """

    class_name: str
    box: Sequence[float]
    points: NDArray[np.float64]
    closed: bool


class AnnotatedImage(NamedTuple):
    """An image with its objects.

    Parameters
    ----------
    path : Path
    name : str
        Below the folder of images.
    size : (int, int)
        Rows and columns, upright.
    objects : list of Annotated
    """

    path: Path
    name: str
    size: tuple[int, int]
    objects: list[Annotated]


def write_annotations(images: Sequence[AnnotatedImage], layout: Format, out: Path, generator: str) -> list[Path]:
    """Write the polygons below the folder ``out``: a file an image, of COCO one for all; return the files.

    Raises
    ------
    UserError
        If a file is there already that another program wrote.
    """
    contents: dict[Path, dict[str, Any]] = {}
    if layout == "coco":
        contents[out / "annotations.coco.json"] = _coco(images)
    for image in images if layout != "coco" else []:
        file = _beside(out / image.name, ".json" if layout == "labelme" else ".geojson", contents)
        contents[file] = _labelme(image, file) if layout == "labelme" else _geojson(image)
    for file in contents:
        _refuse_others(file)
    for file, content in contents.items():
        write_text(file, json.dumps(content | {GENERATOR: generator}, indent=1))
    return list(contents)


def _beside(path: Path, suffix: str, taken: Any) -> Path:
    """Return the file of an image; with its whole name where another image has the same but for its ending."""
    file = path.with_suffix(suffix)
    return path.with_name(path.name + suffix) if file in taken else file


def _refuse_others(file: Path) -> None:
    try:
        ours = GENERATOR in json.loads(file.read_bytes())
    except FileNotFoundError:
        return
    except (OSError, ValueError, TypeError):
        ours = False
    if not ours:
        raise UserError(f"{file}: is there already, and scs annotate didn't write it: name another --out")


def _labelme(image: AnnotatedImage, file: Path) -> dict[str, Any]:
    shapes: list[dict[str, Any]] = [
        {
            **{"label": one.class_name, "points": _rounded(one.points), "group_id": None, "description": ""},
            **{"shape_type": "polygon", "flags": {}, "mask": None},
        }
        for one in image.objects
    ]
    path = os.path.relpath(image.path.absolute(), file.parent.absolute())
    return {
        **{"version": LABELME, "flags": {}, "shapes": shapes, "imagePath": path, "imageData": None},
        **{"imageHeight": image.size[0], "imageWidth": image.size[1]},
    }


def _coco(images: Sequence[AnnotatedImage]) -> dict[str, Any]:
    names = sorted({one.class_name for image in images for one in image.objects})
    annotations: list[dict[str, Any]] = []
    for number, image in enumerate(images, start=1):
        for one in image.objects:
            low, high = one.points.min(0), one.points.max(0)
            annotations.append(
                {
                    **{"id": len(annotations) + 1, "image_id": number, "category_id": names.index(one.class_name) + 1},
                    **{"segmentation": [np.ravel(_rounded(one.points)).tolist()], "area": signed_area(one.points)},
                    **{"bbox": [*map(float, low), *map(float, high - low)], "iscrowd": 0},
                }
            )
    return {
        "images": [
            {"id": number, "file_name": image.name, "height": image.size[0], "width": image.size[1]}
            for number, image in enumerate(images, start=1)
        ],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in enumerate(names, start=1)],
    }


def _geojson(image: AnnotatedImage) -> dict[str, Any]:
    features = [
        {
            "type": "Feature",
            "properties": {"image": image.name, "class": one.class_name, "box": list(one.box), "closed": one.closed},
            "geometry": {"type": "Polygon", "coordinates": [_rounded(np.concatenate([one.points, one.points[:1]]))]},
        }
        for one in image.objects
    ]
    return {"type": "FeatureCollection", "units": "pixels of the image, x to the right, y down", "features": features}


def _rounded(points: NDArray[np.float64]) -> list[list[float]]:
    return np.round(points, 2).tolist()
