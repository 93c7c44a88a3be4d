"""Drives made for the tests, in the three layouts."""

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import h5py
import numpy as np
import yaml
from conftest import REPOSITORY

from pipelines.params.driving import IngestDrives, SimulateDrives


def ingest_params(**changes: object) -> IngestDrives:
    """The repository's section ingest_drives, but for what is given."""
    return IngestDrives(**yaml.safe_load((REPOSITORY / "params.yaml").read_text())["ingest_drives"] | changes)


def small_simulation(**changes: object) -> SimulateDrives:
    """Four drives of three seconds."""
    return SimulateDrives(**{"seed": 1, "drives": 4, "seconds": 3, "rate": 10} | changes)


def grey(level: int, rows: int = 66, columns: int = 200) -> np.ndarray:
    """A frame that is grey all over: its level is its number."""
    return np.full((rows, columns, 3), level, np.uint8)


def write_picture(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes())


def write_livi(folder: Path, rows: Sequence[tuple[float, float]], base: int = 0) -> None:
    """Write a drive of LiVi-Set: the picture of row k is grey of level base + k."""
    for k in range(len(rows)):
        write_picture(folder / "dvr_66x200" / f"{k}.jpg", grey(base + k))
    (folder / "behavior.csv").write_text("".join(f"{a},{b}\n" for a, b in rows))


def write_tub(folder: Path, angles: Sequence[float], *, rate: float = 20.0, deleted: Sequence[int] = ()) -> None:
    """Write a tub of one session: the picture of record k is grey of level k."""
    records = []
    for k, angle in enumerate(angles):
        write_picture(folder / "images" / f"{k}_cam_image_array_.jpg", grey(k, 120, 160))
        record = {"_index": k, "_session_id": "22-01-01_0", "_timestamp_ms": 1_650_000_000_000 + round(1000 * k / rate)}
        record |= {"cam/image_array": f"{k}_cam_image_array_.jpg", "user/angle": angle, "user/mode": "user"}
        records.append(record)
    write_catalog(folder, records, deleted)


def write_catalog(folder: Path, records: Sequence[dict], deleted: Sequence[int] = ()) -> None:
    """Write a tub's records, and its manifest with a path of another machine."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "catalog_0.catalog").write_text("".join(json.dumps(record) + "\n" for record in records))
    about = {"paths": ["/home/pi/car/data/catalog_0.catalog"], "deleted_indexes": list(deleted)}
    lines = [["cam/image_array", "user/angle", "user/mode"], ["image_array", "float", "str"], {}, {}, about]
    (folder / "manifest.json").write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_comma(folder: Path, frames: np.ndarray, pointer: Sequence[float], angle: Sequence[float]) -> Path:
    """Write a drive of comma.ai, frames (N, rows, columns, 3), with a log of 100 rows a second; return the camera's."""
    camera, log = (folder / kind / "2016-01-01--00-00-00.h5" for kind in ("camera", "log"))
    for path in (camera, log):
        path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(camera, "w") as file:
        pixels = frames.transpose(0, 3, 1, 2)
        file.create_dataset("X", data=pixels, chunks=(1, *pixels.shape[1:]), compression="lzf")
    with h5py.File(log, "w") as file:
        file["cam1_ptr"], file["steering_angle"] = np.array(pointer), np.array(angle)
        file["times"], file["speed"] = 1000 + np.arange(len(angle)) / 100, np.full(len(angle), 9.0)
    return camera
