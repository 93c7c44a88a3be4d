"""Ingestion against bare decoding, and training from the store against training from memory.

    python benchmarks/video.py [--part ingest] [--part loader]

One line a claim; exit status 1 if any is short. Both make their own clips.

Ingestion: 320 × 240 pixels, MPEG-4 and H.264, every frame, to a short side of 64 and of 128 pixels; bare decoding is
PyAV with the same resizing, in as many processes as there are cores, and writes nothing. It is timed as one writes it,
with `frame.reformat`, and with one reformatter a file, as ours has: the first is the claim, the second is printed
beside it.

Loader: steps of the 17-layer SCS network at an eighth of the width, 8 pieces of 16 frames of 64 × 64 pixels with
optical flow, against the same steps on batches in memory: of a split whose clips fit into memory, and of one that is
read all the time.

Times are the best of rounds in which every side runs once: others' load only adds.
"""

import argparse
import contextlib
import io
import itertools
import os
import sys
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import numpy as np
import torch
from av.video.reformatter import VideoReformatter
from claims import best_seconds, claim, say_where, status
from torch import Tensor
from torch.nn.functional import nll_loss
from torch.utils.data import DataLoader

from pipelines.params.video import IngestVideo, SimulateVideo
from pipelines.training.pass_sampler import PassSampler
from pipelines.video.clips import open_clips
from pipelines.video.frames import target_size
from pipelines.video.ingest import ingest_video
from pipelines.video.samples import ClipSamples
from pipelines.video.simulate import CLASSES, Phases, Scene, pose, render, simulate_video, write_video
from scs_model.networks.recognition import Recognizer
from scs_model.stsgd.switch import draw_open_paths

HEIGHT, WIDTH = 240, 320  # of the clips to ingest
LOOP, LOOPS = 30, 10  # frames after which a motion is where it was; loops of a clip
ROUNDS, STEPS, BATCH, LENGTH, SIZE = 5, 6, 8, 16, 64


def write_clips(folder: Path) -> int:
    """Write clips that loop, and count their frames."""
    count = 0
    for number, name in enumerate(CLASSES[:6]):
        rng = np.random.default_rng(number)
        scene, phases = Scene.draw(rng, WIDTH), Phases.draw(rng)
        pixels = [np.rint(255 * render(scene, name, pose(name, phases, t))).astype(np.uint8) for t in range(LOOP)]
        for start, ending in itertools.product(range(0, LOOP, 5), (".avi", ".mp4")):
            path = folder / name / f"v_{name}_g{number}_c{start}{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            images = [pixels[(start + t) % LOOP][:HEIGHT] for t in range(LOOPS * LOOP)]
            write_video(path, iter(images), rate=25)
            count += len(images)
    return count


def decode_bare(path: Path, size: tuple[int, int], one_reformatter: bool) -> int:
    """Decode and resize, and keep nothing."""
    how: Any = {"width": size[1], "height": size[0], "format": "rgb24", "interpolation": "AREA", "threads": 1}
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "NONE"
        reformatter = VideoReformatter()
        pixels = [
            (reformatter.reformat(frame, **how) if one_reformatter else frame.reformat(**how)).to_ndarray()
            for frame in container.decode(video=0)
        ]
    return len(pixels)


def ingest_params(short_side: int, flow: str = "loader") -> IngestVideo:
    return IngestVideo(
        source="-", short_side=short_side, rate=None, min_frames=1, frame_folder_rate=25.0, flow=flow,
        official_split=1, group=None, validation_share=0.2, test_share=0.2, seed=1, license="CC0-1.0",
    )  # fmt: skip


def measure_ingest(folder: Path) -> None:
    raw, number = folder / "raw", itertools.count()
    frames = write_clips(raw)
    paths = sorted(raw.rglob("v_*"))
    cores = len(os.sched_getaffinity(0))
    with get_context("spawn").Pool(cores) as pool:
        for short_side in (64, 128):
            size = target_size(HEIGHT, WIDTH, short_side)

            def bare(size: tuple[int, int] = size, one_reformatter: bool = False) -> None:
                decode = partial(decode_bare, size=size, one_reformatter=one_reformatter)
                assert sum(pool.map(decode, paths, chunksize=1)) == frames

            def ours(short_side: int = short_side) -> None:
                out = folder / f"out{next(number)}"
                with contextlib.redirect_stdout(io.StringIO()):
                    ingest_video(raw, out / "clips.zarr", out / "quarantine.csv", ingest_params(short_side))

            took = best_seconds(
                {"bare": bare, "one reformatter": partial(bare, one_reformatter=True), "ours": ours}, ROUNDS
            )
            rates = {name: round(frames / seconds) for name, seconds in took.items()}
            print(f"ingest, short side {short_side}, {len(paths)} clips, {cores} processes, frames a second: {rates}")
            claim(f"ingest short side {short_side} ours / bare decoding", took["bare"] / took["ours"], ">=", 0.8)
            print(f"  beside it, with one reformatter a file: {took['one reformatter'] / took['ours']:.3f}")


def measure_loader(folder: Path, device: str) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        simulate_video(folder / "raw", SimulateVideo(seed=1, groups=6, clips=1, frames=24, rate=12, size=SIZE))
        for flow in ("loader", "store"):
            params = ingest_params(SIZE, flow)
            ingest_video(folder / "raw", folder / f"{flow}.zarr", folder / "quarantine.csv", params)
    # On the CPU all cores compute; beside a GPU they load.
    workers = 0 if device == "cpu" else len(os.sched_getaffinity(0))

    def load(flow: str, keep_bytes: int) -> DataLoader:
        clips = open_clips(folder / f"{flow}.zarr")
        samples = ClipSamples(clips, "train", LENGTH, SIZE, flow=True, seed=1, keep_bytes=keep_bytes)
        sampler = PassSampler(samples, STEPS * BATCH)
        return DataLoader(samples, BATCH, sampler=sampler, num_workers=workers, persistent_workers=workers > 0)

    network = Recognizer("scs", 17, 8, len(CLASSES)).to(device)
    optimizer = torch.optim.Adam(network.parameters())
    draw = draw_open_paths("two_sided", 0.5, seed=1, step=0, rank=0, layers=network.switch_layers, steps=LENGTH)

    def step(frames: Tensor, labels: Tensor, flow: Tensor) -> None:
        x = frames.to(device).transpose(0, 1).float() / 127.5 - 1
        flow.to(device)
        output, _ = network(x, open_paths=draw)
        loss = nll_loss(output.flatten(0, 1), labels.to(device).repeat(LENGTH))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def train(batches: DataLoader | list) -> None:
        for batch in batches:
            step(*batch)
        if device == "cuda":
            torch.cuda.synchronize()

    loaders = {
        "memory": list(load("loader", 1 << 30)),
        "kept": load("loader", 1 << 30),
        "read": load("store", 0),
        "read, computed": load("loader", 0),
    }
    took = best_seconds({name: partial(train, batches) for name, batches in loaders.items()}, ROUNDS)
    print(f"loader {device}, ms a step: { {name: round(1e3 * s / STEPS, 1) for name, s in took.items()} }")
    what = {"kept": "a split that fits into memory", "read": "a larger one, flow stored"}
    for name, split in what.items():
        claim(f"loader {device} step rate, {split} / batches in memory", took["memory"] / took[name], ">=", 0.85)
    print(f"  beside it, a larger one, flow computed: {took['memory'] / took['read, computed']:.3f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", action="append", choices=["ingest", "loader"], help="both by default")
    parts = parser.parse_args().part or ["ingest", "loader"]
    say_where()
    print(f"PyAV {av.__version__}")
    with TemporaryDirectory() as folder:
        if "ingest" in parts:
            measure_ingest(Path(folder) / "ingest")
        if "loader" in parts:
            for device in ["cpu"] + ["cuda"] * torch.cuda.is_available():
                measure_loader(Path(folder) / device, device)
    return status()


if __name__ == "__main__":
    sys.exit(main())
