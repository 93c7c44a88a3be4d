"""Ingestion of a comma.ai drive against bare reading and resizing, and `scs steer` on a camera's file.

    python benchmarks/driving.py

One line a claim; exit status 1 if any is short. All on one core: this process and its workers share it. The drive is
simulated, 160 × 320 pixels, a chunk a frame, lzf, as comma.ai's is; stored and looked at are 32 × 96. The bare side
reads the same frames one after another from the open file, and crops and resizes them.
"""

import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np
import torch
from claims import best_seconds, claim, say_where, status

from pipelines.common.limits import Limits
from pipelines.driving.camera import Camera
from pipelines.driving.ingest import ingest_drives
from pipelines.driving.simulate import draw_session
from pipelines.driving.steer import read_source, write_angles
from pipelines.driving.steering import Network, Steering, SteeringDescription
from pipelines.driving.view import fit
from pipelines.params.read import read_params
from scs_model.networks.regression import Regressor

SECONDS, RATE, SIZE = 120, 20, (160, 320)
ROUNDS, LONG = 3, 3  # of the best time; how many times longer the drive is that memory is measured on


def write_drive(folder: Path, times: int) -> Path:
    """Write a drive, so many times over, as comma.ai does; return the camera's file."""
    drive, scene = draw_session(1, 0, SECONDS, RATE)
    camera = Camera(drive, scene, SIZE)
    frames = np.stack([camera.frame(i).transpose(2, 0, 1) for i in range(SECONDS * RATE)])
    paths = [folder / kind / "drive.h5" for kind in ("camera", "log")]
    for path in paths:
        path.parent.mkdir(parents=True)
    with h5py.File(paths[0], "w") as file:
        shape = (times * len(frames), *frames.shape[1:])
        pixels = file.create_dataset("X", shape, "uint8", chunks=(1, *frames.shape[1:]), compression="lzf")
        for n in range(times):
            pixels[n * len(frames) : (n + 1) * len(frames)] = frames
    with h5py.File(paths[1], "w") as file:
        file["cam1_ptr"] = np.repeat(np.arange(times * len(frames)), 100 // RATE)
        file["steering_angle"] = np.repeat(np.tile(drive.angle, times), 100 // RATE).clip(-200, 200)
    return paths[0]


def read_bare(camera: Path, height: int, width: int) -> None:
    with h5py.File(camera) as file:
        for frame in file["X"]:
            fit(np.ascontiguousarray(frame.transpose(1, 2, 0)), height, width)


def steering(height: int, width: int) -> Steering:
    """Make the network of params.yaml's scs_drive, untrained."""
    model = read_params().driving_models["scs_drive"]
    about = SteeringDescription(
        method="steering",
        name="scs_drive",
        network=Network(**model.network),
        frames=model.frames,
        rate=None,
        ahead_s=0.0,
        unit="degrees",
        scale=30.0,
        height=height,
        width=width,
    )
    return Steering(Regressor(**model.network, outputs=1).eval(), about)


def peak_mb() -> float:
    """Return the most memory that this process and its workers had, each at its own time."""
    texts = [path.read_text() for path in Path("/proc").glob("[0-9]*/status")]
    ours = [text for text in texts if re.search(rf"^P?Pid:\t{os.getpid()}$", text, re.MULTILINE)]
    return sum(int(re.findall(r"VmHWM:\s+(\d+)", text)[0]) for text in ours) / 1024


def measure(folder: Path) -> None:
    params = read_params().ingest_drives.model_copy(update={"rate": None, "stretch_minutes": 0.2})
    height, width = params.height, params.width
    camera = write_drive(folder / "short", 1)

    def ingest() -> None:
        ingest_drives(folder / "short", folder / "drives.zarr", folder / "quarantine.csv", params)

    took = best_seconds({"ingestion": ingest, "bare": lambda: read_bare(camera, height, width)}, ROUNDS)
    print(f"{SECONDS * RATE} frames, s:", {name: round(seconds, 2) for name, seconds in took.items()})
    claim("ingestion, bare reading and resizing / ours", took["bare"] / took["ingestion"], ">=", 0.8)
    seconds = best_seconds({"steer": lambda: steer(camera)}, ROUNDS)["steer"]
    claim("steer, frames a second at 160 x 320", SECONDS * RATE / seconds, ">=", 20)
    long = write_drive(folder / "long", LONG)
    # In processes of their own, which have written no drive.
    peaks = [float(subprocess.check_output([sys.executable, __file__, str(path)])) for path in (camera, long)]
    print(f"peak memory after {SECONDS} s of a drive {peaks[0]:.0f} MB, after {LONG * SECONDS} s {peaks[1]:.0f} MB")
    claim("steer, MB of a long drive", peaks[1], "<=", 700)


def steer(camera: Path) -> None:
    params = read_params().ingest_drives
    network = steering(params.height, params.width)
    write_angles(network, read_source(camera, network.description, params.folder_rate, Limits()), io.StringIO())


def main() -> int:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    if len(sys.argv) > 1:
        steer(Path(sys.argv[1]))
        print(peak_mb())
        return 0
    say_where()
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder))
    return status()


if __name__ == "__main__":
    sys.exit(main())
