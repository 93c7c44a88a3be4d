"""Videos made for the tests, and a small store of clips."""

import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import yaml
from conftest import REPOSITORY

from pipelines.params.video import IngestVideo, SimulateVideo
from pipelines.video.frames import Decoding
from pipelines.video.ingest import ingest_video
from pipelines.video.simulate import simulate_video

PLAIN = Decoding(short_side=32, rate=None, min_frames=1, frame_folder_rate=25.0, with_flow=False)
HUGE = 16_000  # rows and columns: 1 GB at four bytes a pixel; FFmpeg knows no larger pictures


def ingest_params(**changes: object) -> IngestVideo:
    """The repository's section ingest_video, but for what is given."""
    return IngestVideo(**yaml.safe_load((REPOSITORY / "params.yaml").read_text())["ingest_video"] | changes)


def small_store(folder: Path, **changes: object) -> Path:
    """Simulate and ingest 14 classes × 4 groups × 1 clip of 12 frames, 32 pixels; test is the group g04."""
    simulate_video(folder / "raw", SimulateVideo(seed=1, groups=4, clips=1, frames=12, rate=12, size=32))
    store = folder / "clips.zarr"
    ingest_video(folder / "raw", store, folder / "quarantine.csv", ingest_params(short_side=32, **changes))
    return store


def grey_levels(count: int, step: int = 2) -> list[np.ndarray]:
    """Frames that are grey all over, the n-th of level step·n + 10."""
    return [np.full((32, 32, 3), step * n + 10, np.uint8) for n in range(count)]


def noise(seed: int, count: int, height: int = 32, width: int = 32) -> list[np.ndarray]:
    """Frames of a blocky noise, each another."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (count, height // 8, width // 8, 3)).astype(np.uint8)
    return list(blocks.repeat(8, axis=1).repeat(8, axis=2))


def write(
    path: Path,
    images: Iterable[np.ndarray],
    rate: int = 25,
    codec: str = "ffv1",
    times_s: Sequence[float] | None = None,
    aspect: Fraction | None = None,
    b_frames: int = 0,
) -> Path:
    """Write a video, by default one without loss; with ``times_s``, a frame at each of these times."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.pix_fmt = {"ffv1": "bgr0", "gif": "rgb8", "png": "rgb24"}.get(codec, "yuv420p")
        if b_frames:
            stream.codec_context.max_b_frames = b_frames
        if codec == "mpeg4":
            stream.codec_context.options = {"qscale": "2", "flags": "+qscale"}
        for n, image in enumerate(images):
            if not n:
                stream.height, stream.width = image.shape[:2]
                if aspect:
                    stream.codec_context.sample_aspect_ratio = aspect
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            if times_s is not None:
                frame.time_base, frame.pts = Fraction(1, 1000), round(1000 * times_s[n])
                stream.codec_context.time_base = Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_huge(path: Path) -> Path:
    """Write a QuickTime file of PNG whose headers say that they are huge."""
    content = bytearray(write(path, noise(2, 3), codec="png").read_bytes())
    at = 0
    while (at := content.find(b"IHDR", at + 1)) > 0:
        struct.pack_into(">II", content, at + 4, HUGE, HUGE)
    path.write_bytes(content)
    return path


def write_sound(path: Path) -> Path:
    """Write a file with half a second of sound and no picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def remux(path: Path, to: Path, options: dict[str, str]) -> Path:
    """Copy a video's packets into another file, with the muxer's options."""
    with av.open(str(path)) as source, av.open(str(to), "w", options=options) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    return to


def show(path: Path, start_s: float, lasts_s: float) -> None:
    """Have an MP4 file's edit list say that of its video so many seconds are shown, from there on.

    ISO/IEC 14496-12, 8.6.6: an entry's duration in units of the movie (here 1/1000 s), and its start in those of the
    media (here 1/12800 s), after version, flags and the number of entries.
    """
    content = bytearray(path.read_bytes())
    entry = content.index(b"elst") + 4 + 8
    content[entry : entry + 8] = struct.pack(">Ii", round(1000 * lasts_s), round(12800 * start_s))
    path.write_bytes(content)


def turn_clockwise(path: Path) -> None:
    """Have an MP4 file say that it is to be shown turned by 90° clockwise.

    ISO/IEC 14496-12, 8.3.2: the matrix of tkhd, nine 32-bit numbers at byte 40 of version 0's content, maps (p, q) to
    (a·p + c·q + x, b·p + d·q + y); with a = d = 0, b = 1, c = -1 the top left corner comes to the top right.
    """
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40
    one = 1 << 16
    content[matrix : matrix + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 32 * one, 0, 1 << 30)
    path.write_bytes(content)
