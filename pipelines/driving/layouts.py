"""What drives a folder has, in which layouts, and their frames: what a worker does on their way into the store."""

import hashlib
import os
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.common.errors import as_unreadable
from pipelines.common.files import as_text, no_file_inside
from pipelines.common.limits import check_size
from pipelines.driving import comma_ai, livi_set, tub
from pipelines.driving.rows import Picture, Read
from pipelines.driving.view import fit

Layout = Literal["comma.ai 2016", "LiVi-Set", "donkeycar tub"]


@dataclass(frozen=True)
class DrivePath:
    """A drive's place: a folder, or a camera's file of comma.ai.

    Parameters
    ----------
    layout : {"comma.ai 2016", "LiVi-Set", "donkeycar tub"}
    path : Path
    name : str
        Below the source folder.
    angle_at : int
        Column of the angle, where the layout doesn't say.
    rate : float
        Frames a second, where the layout doesn't say.
    split : str or None
        train, validation or test, where the layout says.
    """

    layout: Layout
    path: Path
    name: str
    angle_at: int = 0
    rate: float = 0.0
    split: str | None = None


@dataclass
class Found:
    """The drives below a folder, and why others are none."""

    drives: list[DrivePath] = field(default_factory=list)
    rejected: dict[str, str] = field(default_factory=dict)


def find_drives(source: Path) -> Found:
    """Find the drives below ``source``; a link to a folder isn't followed."""
    found = Found()

    def reject(error: OSError) -> None:
        found.rejected[as_text(Path(error.filename).relative_to(source).as_posix())] = error.strerror or str(error)

    for top, folders, files in os.walk(source, onerror=reject):
        here = Path(top)
        name = as_text(here.relative_to(source).as_posix())
        folders.sort()
        for folder in [folder for folder in folders if (here / folder).is_symlink()]:
            found.rejected[as_text((here / folder).relative_to(source).as_posix())] = "a link to a folder"
            folders.remove(folder)
        if tub.MANIFEST in files and tub.IMAGES not in folders:
            found.rejected[name] = f"no {tub.IMAGES} in it"
            folders.clear()
        elif tub.MANIFEST in files:
            found.drives.append(DrivePath("donkeycar tub", here, name))
            folders.clear()
        elif livi_set.LABELS in files and livi_set.PICTURES in folders:
            found.drives.append(DrivePath("LiVi-Set", here, name))
            folders.clear()
        elif livi_set.LABELS in files or livi_set.PICTURES in folders:
            missing = livi_set.PICTURES if livi_set.LABELS in files else livi_set.LABELS
            found.rejected[name] = f"no {missing} in it"
            folders.clear()
        elif here.name == "camera":
            cameras = sorted(here / file for file in files if file.endswith(".h5"))
            named = [(path, as_text(path.relative_to(source).as_posix())) for path in cameras]
            found.drives += [DrivePath("comma.ai 2016", path, name) for path, name in named]
    return found


def read_drive(path: Path, drive: DrivePath) -> Read:
    """Read what a drive's files say of its frames.

    Raises
    ------
    UnreadableFile
        If none of it can be used.
    """
    with as_unreadable(path):
        match drive.layout:
            case "comma.ai 2016":
                files = [path, comma_ai.log_of(path)]
            case "LiVi-Set":
                files = [path / livi_set.LABELS, path / livi_set.HIDDEN]
            case _:
                files = [path / tub.MANIFEST]
        for file in files:
            if words := no_file_inside(file, file.parent):
                raise ValueError(f"{file.name}: {words}")
        match drive.layout:
            case "comma.ai 2016":
                return comma_ai.read_log(path, drive.name)
            case "LiVi-Set":
                return livi_set.read_drive(path, drive.name, drive.angle_at, drive.rate, drive.split)
            case _:
                return tub.read_tub(path, drive.name)


@dataclass(frozen=True)
class Piece:
    """Some frames of a drive.

    Parameters
    ----------
    frames : ndarray of shape (n, H, W, 3), uint8
    places : list of int
        Which of the pictures that were asked for they are.
    bad : dict
        From the places of others to the reason.
    size : tuple of int
        Rows and columns of the pictures; (0, 0) if there is none.
    sha256 : str
        Hex digest of their content.
    checksums : list of int
        CRC-32 of the content of each.
    """

    frames: NDArray[np.uint8]
    places: list[int]
    bad: dict[int, str]
    size: tuple[int, int]
    sha256: str
    checksums: list[int]


def read_piece(
    path: Path, layout: Layout, pictures: Sequence[Picture], target: tuple[int, int], size: tuple[int, int] | None
) -> Piece:
    """Read some frames of a drive, and fit them to ``target`` rows and columns.

    Parameters
    ----------
    size : tuple of int, or None
        Rows and columns that they should have; None for those that most of them have.
    """
    wanted, sizes = size, Counter[tuple[int, int]]()
    digest = hashlib.sha256()
    checksums: list[int] = []
    bad: dict[int, str] = {}
    places: list[int] = []
    frames = np.empty((len(pictures), *target, 3), np.uint8)
    with as_unreadable(path):
        images = _pixels(path, pictures) if layout == "comma.ai 2016" else _files(path, pictures)
        for place, (content, image) in enumerate(images):
            if isinstance(image, str):
                bad[place] = image
                continue
            sizes[image.shape[:2]] += 1
            if size and image.shape[:2] != size:
                bad[place] = "a frame of {} × {} pixels in a drive of {} × {}".format(*image.shape[:2], *size)
            else:
                size = image.shape[:2]
                frames[len(places)] = fit(image, *target)
                digest.update(content)
                checksums.append(zlib.crc32(content))
                places.append(place)
    if wanted is None and sizes and (most := sizes.most_common(1)[0][0]) != size:
        return read_piece(path, layout, pictures, target, most)
    return Piece(frames[: len(places)], places, bad, size or (0, 0), digest.hexdigest(), checksums)


def _pixels(path: Path, pictures: Sequence[Any]) -> Any:
    with comma_ai.open_contained(path) as frames:
        comma_ai.shape_of(frames)
        for planes in comma_ai.read_planes(frames, pictures):
            yield planes, planes.transpose(1, 2, 0)


def _files(folder: Path, pictures: Sequence[Any]) -> Any:
    for name in pictures:
        file = folder / name
        if words := no_file_inside(file, folder):
            yield b"", words
            continue
        try:
            check_size(file.stat().st_size)
            content = file.read_bytes()
            image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
        except (OSError, ValueError, cv2.error) as error:
            yield b"", getattr(error, "strerror", None) or f"no picture: {str(error).splitlines()[0][:80]}"
            continue
        yield content, "no picture that can be decoded" if image is None else image
