"""What a worker does with an annotated image on its way into the store: it cuts and compresses the crops."""

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image
from shapely import MultiPolygon, Polygon

from pipelines.common.errors import UserError, as_unreadable
from pipelines.common.limits import check_size
from pipelines.common.provenance import FileSignature
from pipelines.common.shard_file import ShardFile
from pipelines.images.annotations import Annotation, Object, read_annotation
from pipelines.images.crop_box import CropBox, crop_box
from pipelines.images.crops import LEVEL
from pipelines.images.outlines import outlines, read_polygons
from pipelines.images.picture import decode_picture

ALIKE = 0.5  # intersection over union of an annotated box and its polygon's, from which on the one is the other's


class Crop(NamedTuple):
    """A crop of an image, and the outline in it.

    Parameters
    ----------
    object : int
        Number of the object in the annotation.
    class_name : str
    box : sequence of 4 floats
        x0, y0, x1, y1 in pixels of the image.
    square : sequence of 3 floats
        x0, y0 and side of the crop in pixels of the image.
    polygon : str
        Its vertices x, y in pixels of the crop: little-endian float32 in base64, a tenth of what lists would take of a
        million objects.
    sha256 : str
        Of the image's file, the square, the polygon and the class.
    """

    object: int
    class_name: str
    box: Sequence[float]
    square: Sequence[float]
    polygon: str
    sha256: str

    @property
    def vertices(self) -> NDArray[np.float32]:
        """The polygon (N, 2)."""
        return np.frombuffer(base64.b64decode(self.polygon), "<f4").reshape(-1, 2)


@dataclass(frozen=True)
class Decoded:
    """What became of an image.

    Parameters
    ----------
    sha256 : str
        Hex digest of the image's file, or of the one that is in a labelme file.
    key : str
        Name of the file with its compressed crops.
    height, width : int
    crops : list of Crop
    rejected : dict of str
        Reasons by number of the object.
    """

    sha256: str
    key: str
    height: int
    width: int
    crops: list[Crop] = field(default_factory=list)
    rejected: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> "Decoded":
        """Return it from what ``json`` makes of its fields."""
        return cls(**plain | {"crops": [Crop(*crop) for crop in plain["crops"]]})


def decode_image(path: Path, annotation: Path | str, min_side: int, folder: Path) -> Decoded:
    """Cut the crops of an image into a file in ``folder``; there is none where the image has no object.

    Parameters
    ----------
    path : Path
        A picture, or a labelme file with one in it.
    annotation : Path or str
        Its JSON file, or JSON.
    min_side : int
        An object whose longer side has fewer pixels is rejected.

    Raises
    ------
    UnreadableFile
        If the image or its annotation is of no use at all, whatever the reason.
    """
    with as_unreadable(path):
        files = [path, annotation] if isinstance(annotation, Path) else [path]
        signatures = [FileSignature.of(file) for file in files]
        for file in files:
            check_size(file.stat().st_size)
        content = path.read_bytes()
        text = annotation.read_bytes() if isinstance(annotation, Path) else annotation.encode()
        if [FileSignature.of(file) for file in files] != signatures:
            raise InterruptedError(4, "it changed while it was read")
        told = read_annotation(text)
        if path.suffix.lower() == ".json":
            content = base64.b64decode(json.loads(content)["imageData"])
        picture = decode_picture(content, told.size)
        rejected: dict[str, str] = {}
        width, height = picture.size
        found = list(_found(told, (height, width), min_side, rejected))
        digest = hashlib.sha256(content).hexdigest()
        key = hashlib.sha256(digest.encode() + text).hexdigest()
        crops = _write(found, picture, digest, folder / key) if found else []
    return Decoded(digest, key, height, width, crops, rejected)


class _Found(NamedTuple):
    object: Object
    box: tuple[float, ...]
    square: CropBox
    outline: Polygon


def _found(told: Annotation, size: tuple[int, int], min_side: int, rejected: dict[str, str]) -> Iterator[_Found]:
    """Yield the outlines that are seen of each object, with the squares around them."""
    drawn: dict[int, Polygon | MultiPolygon] = {}
    for place, one in enumerate(told.objects):
        try:
            drawn[place] = read_polygons(one.polygons)
        except ValueError as error:
            if one.class_name is not None:
                rejected[str(one.number)] = one.reason or str(error)
    for place, polygon in drawn.items():
        one = told.objects[place]
        if one.class_name is not None:
            try:
                if one.reason or not one.class_name:
                    raise ValueError(one.reason or "it has no class")
                in_front = [other for after, other in drawn.items() if told.in_depth and after > place]
                yield from _placed(one, outlines(polygon, in_front, size), size, min_side)
            except (ValueError, UserError) as error:
                rejected[str(one.number)] = str(error)


def _placed(one: Object, parts: list[Polygon], size: tuple[int, int], min_side: int) -> list[_Found]:
    """Return an object's outlines with the squares around them; those that are too small only where all are raise."""
    found = []
    for part in parts:
        bounds = part.bounds
        width, height = bounds[2] - bounds[0], bounds[3] - bounds[1]
        try:
            if max(width, height) < min_side:
                raise ValueError(f"{width:.1f} × {height:.1f} pixels, and min_side is {min_side}")
            box = _widened(one.box, bounds, size) if one.box is not None and len(parts) == 1 else bounds
            found.append(_Found(one, box, crop_box(box, size), part))
        except (ValueError, UserError):
            if not found and part is parts[-1]:
                raise
    return found


def _widened(box: Sequence[float], bounds: tuple[float, ...], size: tuple[int, int]) -> tuple[float, ...]:
    """Return an annotated box, cut to the image, and widened to its outline's ``bounds``."""
    crop_box(box, size)  # raises, if it is none
    box = (max(box[0], 0), max(box[1], 0), min(box[2], size[1]), min(box[3], size[0]))
    common = shapely.box(*box).intersection(shapely.box(*bounds)).area
    wide = (*np.minimum(box[:2], bounds[:2]).tolist(), *np.maximum(box[2:], bounds[2:]).tolist())
    if common < ALIKE * shapely.box(*wide).area:
        raise ValueError(f"its box {','.join(f'{value:g}' for value in box)} isn't its polygon's")
    return wide


def _write(found: list[_Found], picture: Image.Image, image_sha256: str, path: Path) -> list[Crop]:
    """Write the compressed crops of an image, and say what they are."""
    crops = []
    with ShardFile(path, len(found), LEVEL) as file:
        for one, box, square, outline in found:
            file.add(square.cut(picture))
            polygon = square.to_crop(shapely.get_coordinates(outline)[:-1]).astype("<f4").tobytes()
            place = (square.x0, square.y0, square.side)
            digest = hashlib.sha256(f"{image_sha256} {place} {one.class_name} ".encode() + polygon).hexdigest()
            crops.append(Crop(one.number, str(one.class_name), box, place, base64.b64encode(polygon).decode(), digest))
    return crops
