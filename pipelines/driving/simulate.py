"""Stage ``simulate_drives``: the embedded drives, in LiVi-Set's layout.

A car goes along a road whose curvature varies smoothly. Its driver looks ahead, and hands and wheel follow with a lag
of a second: a single frame shows the road and where the car is on it, but not what the wheel still does about the road
before. What moves in the picture does show it, on the hills even where other cars hide the road. Those come for some
seconds, and keep to no lane, so that they tell nothing. LiVi-Set knows no such label; it is in ``hidden.csv`` beside
``behavior.csv``, a 0 or 1 a frame.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipelines.common.files import atomic_path
from pipelines.common.progress import track
from pipelines.common.stage import run
from pipelines.driving.camera import Camera, Scene
from pipelines.driving.road import Drive, draw_drive
from pipelines.params.driving import SimulateDrives
from pipelines.params.read import read_params

SIZE = 66, 200
JPEG_QUALITY = 85
KM_H = 3.6  # to a metre a second


def draw_session(seed: int, number: int, seconds: int, rate: int) -> tuple[Drive, Scene]:
    """Draw a drive and what it looks like: a function of the arguments alone."""
    rng = np.random.default_rng((seed, number))
    return draw_drive(rng, seconds, rate), Scene.draw(rng)


def write_livi_set(folder: Path, drive: Drive, scene: Scene) -> None:
    """Write a session into ``folder``: ``dvr_66x200/k.jpg``, ``behavior.csv`` (angle, km/h), ``hidden.csv``."""
    pictures = folder / "dvr_66x200"
    pictures.mkdir(parents=True)
    camera = Camera(drive, scene, SIZE)
    for i in range(len(drive.angle)):
        encoded: Any = cv2.imencode(".jpg", camera.frame(i)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
        (pictures / f"{i}.jpg").write_bytes(encoded.tobytes())
    rows = [f"{angle:.2f},{KM_H * speed:.2f}\n" for angle, speed in zip(drive.angle, drive.speed, strict=True)]
    (folder / "behavior.csv").write_text("".join(rows), encoding="utf-8")
    (folder / "hidden.csv").write_text("".join(f"{int(share == 1)}\n" for share in drive.hidden), encoding="utf-8")


def simulate_drives(folder: Path, params: SimulateDrives) -> None:
    """Write the drives into ``folder``, each a folder with its number for a name."""
    with atomic_path(folder, durable=False) as temporary:
        for number in track(range(params.drives), "simulate drives"):
            session = draw_session(params.seed, number, params.seconds, params.rate)
            write_livi_set(temporary / f"{number + 1}", *session)


def main(folder: Path) -> None:
    """Simulate the drives into FOLDER with params.yaml's section simulate_drives."""
    simulate_drives(folder, read_params().simulate_drives)


if __name__ == "__main__":
    run(main)
