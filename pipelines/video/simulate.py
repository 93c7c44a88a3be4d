"""Stage ``simulate_video``: the embedded clips, in UCF-101's layout.

A clip shows one textured figure before a still, textured background. Background, figure and colours are its group's
and the same in all classes. What makes a class is

* the motion alone (`MOTION`), in pairs that look alike: left and right, in and out, clockwise and counter, slow and
  fast. The figure's place, angle and size are at every time distributed alike in both classes of a pair: each runs
  through a closed cycle (the frame's edges are joined, an angle turns round, a figure that has grown fades out and
  comes again small) at a constant speed from a phase that is drawn evenly. So for every frame of the one class there
  is a clip of the other, as likely, with the same frame, and no single frame tells them apart;
* the pattern on the figure alone (`APPEARANCE`), where it drifts in whatever direction;
* or both (`BOTH`): two patterns, each upward and downward.

Every second clip of a class is an MP4 file (H.264), the others are AVI (MPEG-4).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from pipelines.common.files import atomic_path
from pipelines.common.noise import smooth_noise
from pipelines.common.progress import track
from pipelines.common.stage import run
from pipelines.params.read import read_params
from pipelines.params.video import SimulateVideo

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

MOTION = ["MoveLeft", "MoveRight", "ZoomIn", "ZoomOut", "Clockwise", "Counterclockwise", "SwingSlow", "SwingFast"]
APPEARANCE = ["Checks", "Rings"]
BOTH = ["StripesUp", "StripesDown", "DotsUp", "DotsDown"]
CLASSES = MOTION + APPEARANCE + BOTH
PATTERNS = {"Checks": "checks", "Rings": "rings", "Stripes": "stripes", "Dots": "dots"}

RADIUS = 0.24  # of a figure, in shares of the frame
SPEED = 1 / 30  # of what moves, in frames' widths a frame; what turns or zooms takes 30 frames for a round
SWING, SLOW, FAST = 0.2, 1 / 40, 1 / 13  # way to each side, in shares of the frame; rounds a frame
ZOOM = 2.5  # size of a figure where it fades out, in those where it comes
LISTED_TEST = 0.25  # share of the groups in the test list
CODECS = {
    ".avi": ("mpeg4", {"qscale": "2", "flags": "+qscale"}),
    # Without that parameter, x264's result depends on how memory happens to be aligned.
    ".mp4": ("libx264", {"crf": "12", "x264-params": "cpu-independent=1"}),
}


@dataclass(frozen=True)
class Scene:
    """What the clips of a group share.

    Parameters
    ----------
    background : ndarray of shape (size, size, 3)
        From 0 to 1.
    outline : ndarray of shape (n,)
        Fourier coefficients of the figure's radius over its angle, in shares of `RADIUS`.
    texture : ndarray of shape (m, m)
        From 0 to 1, over twice the figure's radius.
    colours : ndarray of shape (2, 3)
        Of the figure where its texture or pattern is 0 and 1.
    """

    background: Array
    outline: Array
    texture: Array
    colours: Array

    @classmethod
    def draw(cls, rng: np.random.Generator, size: int) -> "Scene":
        """Draw a scene; the background's colours are dull, and the figure has a dark one and a bright one."""
        grain = smooth_noise(rng, size, size / 16)[..., None]
        one, other = rng.uniform(0.25, 0.75, size=(2, 3))
        return cls(
            background=one + (other - one) * grain,
            outline=rng.normal(0, 0.05, 6) * [0, 1, 1, 1, 1, 1],
            texture=smooth_noise(rng, 64, 3.5),
            colours=np.stack([rng.uniform(0.0, 0.2, 3), rng.uniform(0.6, 1.0, 3)]),
        )


@dataclass(frozen=True)
class Pose:
    """Where the figure is in a frame, how large, how turned and how visible.

    Parameters
    ----------
    x, y : float
        Its centre, in shares of the frame, from the left and from the top; the frame's edges are joined.
    angle : float
        Clockwise as one sees it, in rounds.
    scale : float
    strength : float
        From 0, unseen, to 1.
    """

    x: float
    y: float
    angle: float
    scale: float = 1.0
    strength: float = 1.0


@dataclass(frozen=True)
class Phases:
    """What is drawn for a clip, each evenly from 0 to 1.

    Parameters
    ----------
    x, y, angle : float
        The figure's place and turn at time 0, or about which it moves.
    cycle : float
        Phase of a swing or a zoom at time 0.
    towards : float
        Direction of a drift, in rounds.
    """

    x: float
    y: float
    angle: float
    cycle: float
    towards: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Phases":
        """Draw them."""
        return cls(*rng.uniform(size=5))


def pose(name: str, phases: Phases, t: int) -> Pose:
    """Return the pose of the figure of a clip of the class ``name`` at frame ``t``."""
    at = Pose(phases.x, phases.y, phases.angle)
    way = SPEED * t
    match name:
        case "MoveLeft" | "MoveRight":
            return replace(at, x=(at.x + (way if name == "MoveRight" else -way)) % 1)
        case "StripesUp" | "DotsUp" | "StripesDown" | "DotsDown":
            return replace(at, y=(at.y + (way if name.endswith("Down") else -way)) % 1)
        case "Clockwise" | "Counterclockwise":
            return replace(at, angle=(at.angle + (way if name == "Clockwise" else -way)) % 1)
        case "ZoomIn" | "ZoomOut":
            cycle = (phases.cycle + (way if name == "ZoomIn" else -way)) % 1
            return replace(at, scale=ZOOM ** (cycle - 0.5), strength=min(1.0, 5 * min(cycle, 1 - cycle)))
        case "SwingSlow" | "SwingFast":
            cycle = phases.cycle + (SLOW if name == "SwingSlow" else FAST) * t
            return replace(at, x=(at.x + SWING * np.sin(2 * np.pi * cycle)) % 1)
        case _:  # those that drift
            turn = 2 * np.pi * phases.towards
            return replace(at, x=(at.x + way * np.cos(turn)) % 1, y=(at.y + way * np.sin(turn)) % 1)


def render(scene: Scene, name: str, pose: Pose) -> Array:
    """Draw a frame of the class ``name``: of shape (size, size, 3), from 0 to 1."""
    size = len(scene.background)
    centres = (np.arange(size) + 0.5) / size
    # The nearest of the figure's copies on joined edges; 0 in its centre, 1 at its mean radius.
    dx, dy = ((centres - middle + 0.5) % 1 - 0.5 for middle in (pose.x, pose.y))
    turn = 2 * np.pi * pose.angle
    away = RADIUS * pose.scale
    u = (np.cos(turn) * dx[None] + np.sin(turn) * dy[:, None]) / away
    v = (np.cos(turn) * dy[:, None] - np.sin(turn) * dx[None]) / away
    around = np.arctan2(v, u)
    radius = 1 + sum(share * np.cos((order + 1) * around + 2.4 * order) for order, share in enumerate(scene.outline))
    inside = np.clip((radius - np.hypot(u, v)) * away * size + 0.5, 0, 1) * pose.strength
    pattern = _pattern(scene, name, u, v)[..., None]
    figure = scene.colours[0] + (scene.colours[1] - scene.colours[0]) * pattern
    return scene.background + (figure - scene.background) * inside[..., None]


def _pattern(scene: Scene, name: str, u: Array, v: Array) -> Array:
    """Pattern on the figure, from 0 to 1; that of a class, or else the group's texture."""
    kind = next((kind for start, kind in PATTERNS.items() if name.startswith(start)), None)
    period = 0.6  # in figure's radii: 9 pixels of 64
    wave_u, wave_v, wave_r = (np.sin(2 * np.pi * way / period) for way in (u, v, np.hypot(u, v)))
    match kind:
        case "checks":
            value = 3 * wave_u * wave_v
        case "rings":
            value = 2 * wave_r
        case "stripes":
            value = 2 * wave_u
        case "dots":
            value = 3 * (wave_u + wave_v) - 2
        case _:
            m = len(scene.texture)
            return map_coordinates(scene.texture, [(v + 1.6) / 3.2 * m, (u + 1.6) / 3.2 * m], order=1, mode="grid-wrap")
    return np.clip(0.5 + 0.5 * value, 0, 1)


def frames(scene: Scene, name: str, phases: Phases, count: int) -> Iterator[Image]:
    """Return the frames of a clip, each of shape (size, size, 3)."""
    for t in range(count):
        yield np.rint(255 * render(scene, name, pose(name, phases, t))).astype(np.uint8)


def write_video(path: Path, images: Iterator[Image], rate: int) -> None:
    """Write RGB images as a video, the same bytes each time: MPEG-4 in AVI or H.264 in MP4, by the name's ending."""
    codec, options = CODECS[path.suffix]
    first = next(images)
    with av.open(str(path), "w", container_options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for image in chain([first], images):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            # In one thread: with more, not every run has the same pixels.
            container.mux(stream.encode(frame.reformat(format="yuv420p", threads=1)))
        container.mux(stream.encode())


def simulate_video(folder: Path, params: SimulateVideo) -> None:
    """Write the clips into ``folder``: a folder a class, and UCF-101's lists."""
    test_from = params.groups - max(1, round(LISTED_TEST * params.groups))
    lists: dict[str, list[str]] = {"train": [], "test": []}
    numbers = [
        (label, group, clip)
        for label in range(len(CLASSES))
        for group in range(params.groups)
        for clip in range(params.clips)
    ]
    scenes = [Scene.draw(np.random.default_rng((params.seed, group)), params.size) for group in range(params.groups)]
    with atomic_path(folder) as temporary:
        for label, group, clip in track(numbers, "simulate clips"):
            name = CLASSES[label]
            phases = Phases.draw(np.random.default_rng((params.seed, group, label, clip)))
            ending = ".mp4" if clip % 2 else ".avi"
            path = temporary / name / f"v_{name}_g{group + 1:02d}_c{clip + 1:02d}{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_video(path, frames(scenes[group], name, phases, params.frames), params.rate)
            listed = f"{name}/{path.name}"
            if group < test_from:
                lists["train"].append(f"{listed} {label + 1}")
            else:
                lists["test"].append(listed)
        _write_lines(temporary / "classInd.txt", [f"{i} {name}" for i, name in enumerate(CLASSES, start=1)])
        _write_lines(temporary / "trainlist01.txt", lists["train"])
        _write_lines(temporary / "testlist01.txt", lists["test"])


def _write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def main(folder: Path) -> None:
    """Simulate the clips into FOLDER with params.yaml's section simulate_video."""
    simulate_video(folder, read_params().simulate_video)


if __name__ == "__main__":
    run(main)
