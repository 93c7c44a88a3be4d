"""What an annotator from the registry says of images and boxes: the command ``scs annotate``."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from pipelines.common.errors import UserError, in_short
from pipelines.common.limits import Limits
from pipelines.common.progress import track
from pipelines.common.workers import guarded
from pipelines.images.picture import read_picture
from pipelines.outline.annotator import Fixes, load_annotator
from pipelines.outline.figures import write_overlay
from pipelines.outline.formats import Annotated, AnnotatedImage, Format, find_files, write_annotations
from pipelines.training.exported_model import fetch_model

CORNERS = ["x0", "y0", "x1", "y1"]
log = logging.getLogger(__name__)


class Asked(NamedTuple):
    """An object to outline: its image, below the folder of images, its box in pixels, and its class."""

    image: str
    box: Sequence[float]
    class_name: str


def parse_numbers(text: str, option: str, wanted: str) -> list[float]:
    """Return the numbers of an option such as "3,4,50,60"; raises UserError if they aren't as ``wanted`` says."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != len(wanted.split(",")):
        raise UserError(f"{option} {text}: {wanted} is wanted, numbers in pixels of the image")
    return numbers


def parse_fixes(texts: Sequence[str]) -> Fixes:
    """Return vertices' places by their numbers, from texts such as "3,120.5,80"; raises UserError if one is none."""
    fixes = {}
    for text in texts:
        number, x, y = parse_numbers(text, "--fix", "i,x,y")
        if not number.is_integer() or number < 0:
            raise UserError(f"--fix {text}: vertices are numbered 0, 1, 2 and on")
        fixes[int(number)] = x, y
    return fixes


def read_boxes(file: Path, source: Path, class_name: str) -> list[Asked]:
    """Return the boxes in a CSV of columns x0, y0, x1, y1 and, where there are several images, image; class may be.

    Raises
    ------
    UserError
        If it can't be read, or a column is missing.
    """
    try:
        table = pd.read_csv(file, dtype={"image": str, "class": str}, skipinitialspace=True)
        boxes = table[CORNERS].astype(float).to_numpy().tolist()
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{file}: no CSV of x0,y0,x1,y1 in pixels: {in_short(error)}") from None
    if source.is_dir() and "image" not in table:
        raise UserError(f"{file}: a folder of images needs a column image")
    images = table.get("image", pd.Series(source.name, index=table.index)).fillna("")
    classes = table.get("class", pd.Series(class_name, index=table.index)).fillna(class_name)
    asked = [Asked(*one) for one in zip(images, boxes, classes, strict=True)]
    if source.is_dir():
        return asked
    place = source.absolute().as_posix()  # of a/one.png and b/one.png in a list one is this
    return [one for one in asked if one.image and f"/{place}".endswith(f"/{Path(one.image).as_posix()}")]


def annotate(
    source: Path,
    asked: Sequence[Asked],
    out: Path,
    *,
    uri: str,
    layout: Format = "labelme",
    fixes: Fixes | None = None,
    beam: int = 1,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> tuple[list[AnnotatedImage], list[Path], str]:
    """Outline what was asked for in an image, or the images of a folder, into files below ``out``.

    An image that can't be decoded, or one of whose boxes can't be used, is left out with a warning, if others are left.

    Returns
    -------
    list of AnnotatedImage
    list of Path
        Annotations, then pictures of them.
    str
        The model's name and version.

    Raises
    ------
    UserError
        If there is no such model, nothing was asked for, or nothing could be annotated.
    """
    if not asked:
        raise UserError(f"{source}: no box in it: say where objects are, by --box x0,y0,x1,y1 or --boxes FILE")
    asked = [one._replace(image=_name(source, one.image)) for one in asked]
    of_images: dict[str, list[Asked]] = {}
    for one in asked:
        of_images.setdefault(one.image, []).append(one)
    nothing = np.zeros((0, 2))
    wanted = [
        AnnotatedImage(_path(source, name), name, (0, 0), [Annotated("", one.box, nothing, False) for one in of_image])
        for name, of_image in of_images.items()
    ]
    find_files(wanted, layout, out)  # what can't be written is refused before there is any work
    folder, version = fetch_model(uri, _registered)
    annotator = load_annotator(folder)
    if unknown := {one.class_name for one in asked} - {*annotator.description.classes, ""}:
        classes = ", ".join(annotator.description.classes)
        log.warning("%s: not among what the model was trained on (%s)", ", ".join(sorted(unknown)), classes)
    images, pictures, refused = [], [], list[UserError]()
    for name, of_image in track(of_images.items(), "annotate images"):
        path = _path(source, name)
        try:
            pixels = guarded(read_picture, path, limits=limits)
            outlines = annotator.annotate(pixels, [one.box for one in of_image], fixes=fixes, beam=beam)
        except UserError as error:
            refused.append(error if str(path) in str(error) else UserError(f"{path}: {error}"))
            continue
        objects = [
            Annotated(one.class_name or "object", one.box, outline.points, outline.closed)
            for one, outline in zip(of_image, outlines, strict=True)
        ]
        images.append(AnnotatedImage(path, name, pixels.shape[:2], objects))
        pictures.append(out / f"{name}.outline.png")
        write_overlay(pixels, [one.points for one in objects], pictures[-1])
    if not images:
        raise refused[0]
    for reason in refused:
        log.warning("%s", reason)
    made_by = f"{annotator.description.name}, version {version or 'none'}"
    files = write_annotations(images, layout, out, f"scs annotate, {made_by}")
    return images, [*files, *pictures], made_by


def _path(source: Path, name: str) -> Path:
    return source / name if source.is_dir() else source


def _name(source: Path, name: str) -> str:
    """Return what an image that a list names is called below the folder; raises UserError if it isn't in there."""
    if not source.is_dir():
        return source.name
    inside = Path(os.path.relpath(source / name, source))  # of "./a.png" and of the whole path of a.png: a.png
    if inside.parts[:1] in ((), ("..",)) or not (source / inside).resolve().is_relative_to(source.resolve()):
        raise UserError(f"{name or 'an image without a name'}: not in the folder {source}")
    return inside.as_posix()


def _registered() -> Any:
    """Return what MLflow has to know: imported here, as a folder needs none of it."""
    from pipelines.outline.specification import OUTLINE

    return OUTLINE
