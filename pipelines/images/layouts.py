"""How folders of images say what is in them: Cityscapes, COCO, labelme, told by what their JSON files have in them."""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any

from pipelines.common.errors import UnreadableFile, UserError, as_unreadable
from pipelines.common.files import as_text
from pipelines.common.limits import check_size
from pipelines.common.progress import track
from pipelines.common.splits import SPLITS
from pipelines.images.annotations import coco_annotations, layout_of
from pipelines.images.picture import SUFFIXES
from pipelines.images.walk import Files, walk

FINE, IMAGE = "_gtFine_polygons.json", "_leftImg8bit.png"  # what Cityscapes' names end with
SPLIT = re.compile(rf"({'|'.join(SPLITS)})(20\d\d)?", re.IGNORECASE)  # train, or train2017, as COCO has it
FRAME = re.compile(r"_\d+_\d+$")  # what follows the city in Cityscapes' names
ROBOFLOW = re.compile(r"\.rf\.[0-9a-f]{32}$")  # NAME_jpg.rf.HASH.jpg: all that was made of one image


@dataclass(frozen=True)
class AnnotatedImage:
    """An image with an annotation.

    Parameters
    ----------
    path : Path
        The image's file; a labelme file where the image is in it.
    annotation : Path or str
        The JSON file; of a COCO file what it says of this image.
    group : str
        The city: a folder, or what names begin with; or the image; what Roboflow made of one image has one group.
    split : str or None
        train, validation or test, where folders or names say so.
    """

    path: Path
    annotation: Path | str
    group: str
    split: str | None


@dataclass
class Listing:
    """What a folder of images has.

    Parameters
    ----------
    layout : str
        Name of the layout.
    images : list of AnnotatedImage
        In the order of their paths.
    rejected : dict of str
        Reasons by name.
    repeated : int
        Images that another annotation file has, too: the first counts.
    """

    layout: str
    images: list[AnnotatedImage]
    rejected: dict[str, str] = field(default_factory=dict)
    repeated: int = 0


def list_images(folder: Path) -> Listing:
    """List the annotated images below ``folder``.

    Raises
    ------
    UserError
        If the folder isn't there, or nothing in it is annotated.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    files = walk(folder)
    layout = next(filter(None, map(_layout, files.tables)), None)
    if layout is None:
        raise UserError(f"{folder}: no annotations of Cityscapes, COCO or labelme in it")
    images: dict[Path, AnnotatedImage] = {}
    repeated = 0
    for image in {"cityscapes": _cityscapes, "coco": _coco, "labelme": _labelme}[layout](files):
        repeated += image.path in images
        images.setdefault(image.path, image)
    for path in files.pictures.values():
        if path not in images:
            files.rejected.setdefault(files.named(path), "in no annotation")
    in_order = sorted(images.values(), key=lambda image: os.fsencode(image.path))
    return Listing(layout, in_order, files.rejected, repeated)


def _parsed(path: Path) -> Any:
    with as_unreadable(path):
        check_size(path.stat().st_size)
        return json.loads(path.read_bytes())


def _layout(table: Path) -> str | None:
    try:
        return layout_of(_parsed(table))
    except UnreadableFile:
        return None


def _split(inside: PurePath) -> str | None:
    """Return the split that one of the folders of a path names."""
    named = filter(None, map(SPLIT.fullmatch, inside.parts[:-1]))
    return next((SPLITS[found[1].lower()] for found in named), None)


def _group(inside: PurePath) -> str:
    return as_text(ROBOFLOW.sub("", inside.with_suffix("").as_posix()))


def _cityscapes(files: Files) -> Iterator[AnnotatedImage]:
    """gtFine/SPLIT/CITY/NAME_gtFine_polygons.json and leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png."""
    for table in files.tables:
        if table.name.endswith(FINE):
            inside = table.relative_to(files.folder)
            parts = ["leftImg8bit" if part == "gtFine" else part for part in inside.parts[:-1]]
            wanted = "/".join([*parts, inside.name.removesuffix(FINE) + IMAGE])
            if path := files.pictures.get(wanted):
                city = inside.parent.name
                if city in ("", "gtFine") or SPLIT.fullmatch(city):  # all in one folder
                    city = FRAME.sub("", inside.name.removesuffix(FINE))
                yield AnnotatedImage(path, table, as_text(city), _split(inside))
            else:
                files.rejected[files.named(table)] = f"missing: its image {as_text(wanted)}"


def _coco(files: Files) -> Iterator[AnnotatedImage]:
    """Files with images, annotations and categories; an image is beside its file, or the one of its name."""
    by_name: dict[str, list[PurePath]] = {}
    for picture in map(PurePath, files.pictures):
        by_name.setdefault(picture.name, []).append(picture)
    for table in track(files.tables, "read annotations"):
        try:
            annotations, strays = coco_annotations(_parsed(table))
        except (UnreadableFile, ValueError) as error:
            files.rejected[files.named(table)] = getattr(error, "reason", str(error))
            continue
        if strays:
            files.rejected[files.named(table)] = f"{strays} of its annotations are of images that aren't in it"
        # annotations/instances_train2017.json
        named = re.search(rf"(?<![a-z]){SPLIT.pattern}(?![a-z])", table.stem, re.IGNORECASE)
        split = SPLITS[named[1].lower()] if named else _split(table.relative_to(files.folder))
        for name, annotation in annotations:
            others = _elsewhere(by_name, PureWindowsPath(name), split)
            path = files.picture(table, name) or (files.pictures[str(others[0])] if len(others) == 1 else None)
            if path is None:
                such = "more than one such file" if others else f"no such file{f' in {split}' if split else ''}"
                # Of a link out of the folder the reason is known by now.
                files.rejected.setdefault(name, f"missing: it is in {files.named(table)}, and there is {such}")
            else:
                inside = path.relative_to(files.folder)
                yield AnnotatedImage(path, annotation, _group(inside), _split(inside) or split)


def _elsewhere(by_name: dict[str, list[PurePath]], name: PureWindowsPath, split: str | None) -> list[PurePath]:
    """Return the pictures that may be the one of this name.

    Frames of all sequences may have the same names: the folders that ``name`` has are theirs, too, but for those of
    another machine. What a folder says is of another split isn't meant.
    """
    parts = name.parts[-1:] if name.anchor or ".." in name.parts else name.parts
    found = [other for other in by_name.get(name.name, []) if other.parts[-len(parts) :] == parts]
    if split:
        found = [other for other in found if _split(other) in (None, split)]
    return [other for other in found if _split(other) == split] or found


def _labelme(files: Files) -> Iterator[AnnotatedImage]:
    """NAME.json with the image in it, where imagePath says, or beside it: as it is called there, or as NAME.jpg."""
    copies = []
    for table in track(files.tables, "read annotations"):
        inside = table.relative_to(files.folder)
        try:
            content = _parsed(table)
        except UnreadableFile as error:
            files.rejected[files.named(table)] = error.reason
            continue
        if layout_of(content) != "labelme":
            files.rejected[files.named(table)] = "no annotation of labelme"
            continue
        name = str(content["imagePath"])
        names = [name, PureWindowsPath(name).name, *(table.with_suffix(suffix).name for suffix in SUFFIXES)]
        path = next(filter(None, (files.picture(table, each) for each in names)), None)
        if content.get("imageData"):
            copies += [path] if path else []  # labelme writes one into the file of a picture that lies beside it
            path = table
        if path is None:
            files.rejected[files.named(table)] = f"missing: its image {name}"
        else:
            yield AnnotatedImage(path, table, _group(path.relative_to(files.folder)), _split(inside))
    for path in copies:
        files.pictures.pop(path.relative_to(files.folder).as_posix(), None)
