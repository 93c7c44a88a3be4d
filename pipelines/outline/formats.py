"""Polygons as files of annotation tools: labelme's JSON, COCO's, GeoJSON."""

import hashlib
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
GENERATOR = "generator"  # key that says whose a file is, of which objects, and what the rest of it was


class Annotated(NamedTuple):
    """An object with its polygon, in pixels of its image.

    Parameters
    ----------
    class_name : str
    box : sequence of 4 floats
        x0, y0, x1, y1, as asked for.
    points : ndarray of shape (n, 2)
        As a rule clockwise, as one sees it.
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


def find_files(images: Sequence[AnnotatedImage], layout: Format, out: Path) -> list[Path]:
    """Return the file of each image's polygons below the folder ``out``, of COCO one for all.

    Raises
    ------
    UserError
        If a file is there already that another program wrote or changed, or that has objects beside these.
    """
    if layout == "coco":
        files = [out / "annotations.coco.json"] * len(images)
    else:
        files = []
        for image in images:
            file = (out / image.name).with_suffix(".json" if layout == "labelme" else ".geojson")
            whole_name = out / (image.name + file.suffix)
            while file in files:  # another image has the same name but for its ending
                file, whole_name = whole_name, whole_name.with_name(whole_name.name + file.suffix)
            files.append(file)
    for file in set(files):
        _refuse_loss(file, _objects([image for image, its in zip(images, files, strict=True) if its == file], file))
    return files


def write_annotations(images: Sequence[AnnotatedImage], layout: Format, out: Path, generator: str) -> list[Path]:
    """Write the polygons below the folder ``out``; return the files, and raise UserError, as `find_files` does."""
    contents: dict[Path, dict[str, Any]] = {}
    for image, file in zip(images, find_files(images, layout, out), strict=True):
        if layout == "coco":
            content, of_file = _coco(images), images
        else:
            content, of_file = _labelme(image, file) if layout == "labelme" else _geojson(image), [image]
        about = {"name": generator, "objects": _objects(of_file, file), "sha256": _digest(content)}
        contents[file] = content | {GENERATOR: about}
    for file, content in contents.items():
        write_text(file, json.dumps(content, indent=1))
    return list(contents)


def _objects(images: Sequence[AnnotatedImage], file: Path) -> list[list[Any]]:
    """Return path, as seen from the annotation's file, and box of each object."""
    return [[_path_from(file, image), *map(float, one.box)] for image in images for one in image.objects]


def _path_from(file: Path, image: AnnotatedImage) -> str:
    return os.path.relpath(image.path.absolute(), file.parent.absolute())


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _refuse_loss(file: Path, objects: list[list[Any]]) -> None:
    """Refuse to replace a file that isn't as it was written, perhaps corrected by hand, or has other objects too."""
    try:
        content = json.loads(file.read_bytes())
        about = content.pop(GENERATOR)
        ours, known = about["sha256"] == _digest(content), about["objects"]
    except FileNotFoundError:
        return
    except (ValueError, TypeError, KeyError, AttributeError):
        ours, known = False, []
    if not ours:
        raise UserError(f"{file}: is there already, and isn't as scs annotate writes it: name another --out")
    if lost := [one for one in known if one not in objects]:
        raise UserError(
            f"{file}: is there already with {len(lost)} object(s) not asked for now: ask for all, remove it, "
            "or name another --out"
        )


def _labelme(image: AnnotatedImage, file: Path) -> dict[str, Any]:
    shapes: list[dict[str, Any]] = [
        {
            **{"label": one.class_name, "points": _rounded(one.points), "group_id": None, "description": ""},
            **{"shape_type": "polygon", "flags": {}, "mask": None},
        }
        for one in image.objects
    ]
    return {
        **{"version": LABELME, "flags": {}, "shapes": shapes},
        **{"imagePath": _path_from(file, image), "imageData": None},
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
                    **{"segmentation": [np.ravel(_rounded(one.points)).tolist()], "area": abs(signed_area(one.points))},
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
