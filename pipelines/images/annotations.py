"""What an image's annotation says is in it: Cityscapes' JSON, COCO's, labelme's."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count
from typing import Any

from pipelines.common.text import printable

LAYOUTS = {  # by the keys that a file has
    "cityscapes": {"imgHeight", "imgWidth", "objects"},
    "coco": {"images", "annotations", "categories"},
    "labelme": {"shapes", "imagePath"},
}
GROUP = "group"  # what Cityscapes' labels of several objects in one polygon end with
CROWD = "a crowd, not one object"
# Cityscapes' labels that are none of its eight classes of instances; other labels are a user's own classes.
GROUND = {
    "unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "road", "sidewalk",
    "parking", "rail track", "building", "wall", "fence", "guard rail", "bridge", "tunnel", "pole", "polegroup",
    "traffic light", "traffic sign", "vegetation", "terrain", "sky", "caravan", "trailer", "license plate",
}  # fmt: skip


@dataclass(frozen=True)
class Object:
    """An object of an annotation.

    Parameters
    ----------
    number : int
        By which its annotation knows it: COCO's id, where all of its file have one each; or its place in the list.
    class_name : str or None
        None for ground, which only hides others.
    polygons : list
        Each a list of vertices [x, y]; not checked.
    box : list of 4 floats, optional
        x0, y0, x1, y1, where the annotation has one; not checked.
    reason : str
        Why it can't be one with an outline, or empty.
    """

    number: int
    class_name: str | None
    polygons: list[Any]
    box: list[float] | None = None
    reason: str = ""


@dataclass(frozen=True)
class Annotation:
    """What an annotation says of its image.

    Parameters
    ----------
    size : (int, int) or None
        Rows and columns, where it says so.
    objects : list of Object
    in_depth : bool
        Whether each object hides those before it in the list.
    """

    size: tuple[int, int] | None
    objects: list[Object]
    in_depth: bool


def layout_of(content: Any) -> str | None:
    """Return the layout of a parsed JSON file, None if it is none that is known."""
    keys = content.keys() if isinstance(content, dict) else set()
    return next((name for name, wanted in LAYOUTS.items() if wanted <= keys), None)


def read_annotation(text: str | bytes) -> Annotation:
    """Return what the JSON of one image says; of a COCO file what :func:`coco_annotations` made of it.

    Raises
    ------
    ValueError
        If it is no annotation.
    """
    try:
        content = json.loads(text)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"its annotation is no JSON: {error}") from None
    match layout_of(content):
        case "cityscapes":
            return Annotation(_size(content, "imgHeight", "imgWidth"), _objects(content["objects"], _cityscapes), True)
        case "labelme":
            return Annotation(_size(content, "imageHeight", "imageWidth"), _objects(content["shapes"], _labelme), False)
        case _:
            objects = content["objects"]
            numbers = [one["id"] for one in objects]
            return Annotation(_size(content, "height", "width"), _objects(objects, _coco, numbers), False)


def _objects(told: Any, read: Callable[[int, Any], Object], numbers: Iterable[int] | None = None) -> list[Object]:
    """Read objects one by one; one that isn't what it should be doesn't keep the next from its turn."""
    if not isinstance(told, list):
        raise ValueError("its annotation has no list of objects")
    objects = []
    for number, one in zip(count() if numbers is None else numbers, told, strict=False):
        try:
            objects.append(read(number, one))
        except (TypeError, KeyError, AttributeError, ValueError, OverflowError):
            objects.append(Object(number, "", [], reason="its annotation isn't as its layout has it"))
    return objects


def coco_annotations(content: dict[str, Any]) -> tuple[list[tuple[str, str]], int]:
    """Return for each image of a COCO file its name, and the JSON of its size and its objects; how many have no image.

    Raises
    ------
    ValueError
        If it has no instances, or says what can't be.
    """
    try:
        names = {category["id"]: category["name"] for category in content["categories"]}
        objects: dict[Any, list[Any]] = {image["id"]: [] for image in content["images"]}
        if len(objects) < len(content["images"]):
            raise ValueError("no COCO instances: two images have one id")
        if any(names[category["id"]] != category["name"] for category in content["categories"]):
            raise ValueError("no COCO instances: two categories have one id")
        ids = [one.get("id") for one in content["annotations"]]
        # True is an int, too.
        known = all(type(one) is int and abs(one) < 2**63 for one in ids) and len(set(ids)) == len(ids)
        strays = 0  # a list that was made shorter often has them
        for one in content["annotations"]:
            kept = {key: one.get(key) for key in ("segmentation", "bbox", "iscrowd")}
            kept["class"] = names.get(one["category_id"])
            if one["image_id"] in objects:
                others = objects[one["image_id"]]
                others.append(kept | {"id": one["id"] if known else len(others)})
            else:
                strays += 1
        annotations = []
        for image in content["images"]:
            told = {key: image.get(key) for key in ("height", "width")} | {"objects": objects[image["id"]]}
            annotations.append((str(image["file_name"]), json.dumps(told)))
        return annotations, strays
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"no COCO instances: {type(error).__name__}: {error}") from None


def _size(content: dict[str, Any], *keys: str) -> tuple[int, int] | None:
    height, width = (content.get(key) for key in keys)
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def _class_name(label: Any) -> str:
    return printable(label.strip())[:100] if isinstance(label, str) else ""


def _cityscapes(number: int, one: dict[str, Any]) -> Object:
    label = _class_name(one["label"])
    hidden = label in GROUND or one.get("deleted")
    crowd = CROWD if label.endswith(GROUP) else ""
    return Object(number, None if hidden else label, [] if one.get("deleted") else [one["polygon"]], reason=crowd)


def _coco(number: int, one: dict[str, Any]) -> Object:
    segmentation, box = one["segmentation"], one["bbox"]
    reason, polygons = "", []
    if one["iscrowd"]:
        reason = CROWD
    elif isinstance(segmentation, dict):
        reason = "a run-length mask, no polygon"
    elif not segmentation:
        reason = "no polygon"
    elif any(len(flat) % 2 for flat in segmentation):
        reason = "an odd number of coordinates"
    else:
        polygons = [list(zip(flat[::2], flat[1::2], strict=True)) for flat in segmentation]
    if box is not None:
        x, y, width, height = map(float, box)
        box = [x, y, x + width, y + height]
    return Object(number, _class_name(one["class"]), polygons, box, reason)


def _labelme(number: int, one: dict[str, Any]) -> Object:
    kind = one.get("shape_type") or "polygon"
    reason = "" if kind == "polygon" else f"{_class_name(kind) or 'something else'}, no polygon"
    return Object(number, _class_name(one["label"]), [one["points"]], reason=reason)
