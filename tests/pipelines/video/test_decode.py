"""A video becomes the frames that one sees, at the rate asked for; what can't is refused with a reason."""

import re
import tracemalloc
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import zarr
from video_files import PLAIN, grey_levels, noise, remux, show, turn_clockwise, write, write_sound

from pipelines.common.errors import UnreadableFile
from pipelines.video.clips import SHARD, array_outline
from pipelines.video.decode import decode_clip, shard_path
from pipelines.video.frames import Decoding, read_frames, target_size


def decoded(path: Path, decoding: Decoding = PLAIN, start_s=None, end_s=None) -> np.ndarray:
    """The frames that come of a video, read from its shards."""
    folder = path.parent / "shards"
    folder.mkdir(exist_ok=True)
    found = decode_clip(path, start_s, end_s, decoding, folder)
    outline = array_outline("pixels", -(-found.frames // SHARD) * SHARD, found.height, found.width)
    array = zarr.create_array(folder / f"{path.name}.zarr", **outline, overwrite=True)
    for k in range(-(-found.frames // SHARD)):
        target = folder / f"{path.name}.zarr" / f"c.{k}.0.0.0"
        target.write_bytes(shard_path(folder, found.key, "pixels", k).read_bytes())
    return array[: found.frames]


def levels(frames: np.ndarray, step: int = 2) -> list[int]:
    """Which of `grey_levels` each frame is."""
    return [round((frame.mean() - 10) / step) for frame in frames]


def reason(path: Path, decoding: Decoding = PLAIN) -> str:
    folder = path.parent / "shards"
    folder.mkdir(exist_ok=True)
    with pytest.raises(UnreadableFile) as error:
        decode_clip(path, None, None, decoding, folder)
    assert list(folder.iterdir()) == []  # nothing is left of it
    return error.value.reason


def test_pixels_are_the_file_s(tmp_path):
    images = noise(0, SHARD + 12, 32, 48)
    path = write(tmp_path / "a.mkv", images)
    assert np.array_equal(decoded(path), np.stack(images))  # over two shards


@pytest.mark.parametrize(
    ("rate", "wanted"),
    [
        (None, list(range(25))),
        (25.0, list(range(25))),
        (12.5, list(range(0, 25, 2))),
        (5.0, [0, 5, 10, 15, 20]),
        (50.0, sorted(list(range(25)) * 2)),
    ],
)
def test_rate(tmp_path, rate, wanted):
    path = write(tmp_path / "a.mkv", grey_levels(25))
    found = levels(decoded(path, replace(PLAIN, rate=rate)))
    if rate == 50.0:  # between two frames either is the nearest
        assert len(found) == 49 or len(found) == 50
        assert all(b - a in (0, 1) for a, b in pairwise(found))
        assert set(found) == set(range(25))
    else:
        assert found == wanted


def test_variable_rate(tmp_path):
    """Frames at uneven times; ten a second are wanted, each the one nearest in time."""
    times = [0.0, 0.04, 0.31, 0.35, 0.8, 0.82]
    path = write(tmp_path / "a.mkv", grey_levels(6), times_s=times)
    found = levels(decoded(path, replace(PLAIN, rate=10.0)))
    wanted = [int(np.argmin(np.abs(np.array(times) - t))) for t in np.arange(0, 0.85, 0.1)]
    assert found[: len(wanted)] == wanted
    assert len(found) <= len(wanted) + 1


@pytest.mark.parametrize("ending", [".avi", ".mp4", ".mkv"])
def test_b_frames_come_in_order(tmp_path, ending):
    path = write(tmp_path / f"a{ending}", grey_levels(40, step=6), codec="mpeg4", b_frames=2)
    assert levels(decoded(path), step=6) == list(range(40))


def test_frames_as_they_come_are_those_that_are_stored(tmp_path):
    path = write(tmp_path / "a.mp4", noise(4, 40, 64, 96), codec="mpeg4")
    decoding = replace(PLAIN, rate=10.0)
    stream = read_frames(path, decoding)
    assert np.array_equal(np.stack(list(stream)), decoded(path, decoding))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UnreadableFile, match="no video that can be decoded"):
        next(read_frames(path, decoding))


def test_rotated(tmp_path):
    """A corner that is white in the file's top left is shown in the top right."""
    image = np.zeros((64, 32, 3), np.uint8)
    image[:16, :16] = 255
    path = write(tmp_path / "a.mp4", [image] * 3, codec="mpeg4")
    assert decoded(path)[0][:16, :16].mean() > 200
    turn_clockwise(path)
    frames = decoded(path)
    assert frames.shape == (3, 32, 64, 3)
    assert frames[0][:16, -16:].mean() > 200
    assert frames[0][:16, :-24].mean() < 50


def test_pixels_that_are_not_square(tmp_path):
    path = write(tmp_path / "a.mp4", noise(1, 3, 32, 32), codec="mpeg4", aspect=Fraction(2, 1))
    assert decoded(path).shape == (3, 32, 64, 3)


def test_target_size():
    assert target_size(240, 320, 64) == (64, 84)  # 85⅓, on whole cells of the flow
    assert target_size(1920, 1080, 128) == (228, 128)
    assert target_size(32, 32, 64) == (64, 64)


@pytest.mark.parametrize(("ending", "codec"), [(".mkv", "ffv1"), (".avi", "ffv1"), (".mp4", "mpeg4")])
def test_part_of_a_video(tmp_path, ending, codec):
    path = write(tmp_path / f"a{ending}", grey_levels(40, step=6), rate=10, codec=codec)
    assert levels(decoded(path, start_s=1.0, end_s=3.0), step=6) == list(range(10, 30))


def test_long_video_streams(tmp_path):
    """However long it is, a few frames of it are in memory."""
    path = write(tmp_path / "a.mkv", noise(2, 40, 64, 64) * 60)
    (tmp_path / "shards").mkdir()
    decode_clip(path, None, None, replace(PLAIN, short_side=64), tmp_path / "shards")  # what is made once
    tracemalloc.start()
    found = decode_clip(path, None, None, replace(PLAIN, short_side=64), tmp_path / "shards")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.frames == 2400
    assert peak < 4_000_000 < 2400 * 64 * 64 * 3 / 7


def test_folder_of_pictures(tmp_path):
    """In the order of the numbers, not of the letters; flow as pictures beside them is none of it."""
    folder = tmp_path / "clip"
    folder.mkdir()
    for n, image in enumerate(grey_levels(12), start=1):
        cv2.imwrite(str(folder / f"img_{n}.png"), image)
        cv2.imwrite(str(folder / f"flow_x_{n}.png"), image[..., 0])
    assert levels(decoded(folder)) == list(range(12))
    assert levels(decoded(folder, replace(PLAIN, rate=5.0))) == [0, 5, 10]
    image[...] = [255, 0, 0]
    cv2.imwrite(str(folder / "img_1.png"), image[..., ::-1])
    assert decoded(folder)[0, 0, 0].tolist() == [255, 0, 0]
    (folder / "img_7.png").write_bytes(b"no picture")
    with pytest.raises(UnreadableFile, match=r"img_7\.png is no picture"):
        decoded(folder)


@pytest.mark.parametrize(("start_s", "lasts_s"), [(1.2, 0.4), (0.0, 0.4), (0.4, 0.2)])
def test_trimmed_without_decoding(tmp_path, start_s, lasts_s):
    """What is before or after is in the file still, and most of it; ISO/IEC 14496-12, 8.6.6: it isn't shown."""
    path = write(tmp_path / "a.mp4", grey_levels(40, step=6), codec="mpeg4")
    show(path, start_s, lasts_s)
    first = round(25 * start_s)
    assert levels(decoded(path), step=6) == list(range(first, first + round(25 * lasts_s)))


def test_a_last_frame_that_is_long_shown(tmp_path):
    """A recording of a screen: of its ten seconds nine show the last frame."""
    path = write(tmp_path / "a.mp4", grey_levels(4), codec="mpeg4", times_s=[0, 0.3, 0.6, 1.0])
    content = bytearray(path.read_bytes())
    entries = content.index(b"stts") + 4 + 4
    last = entries + 4 + 8 * (int.from_bytes(content[entries : entries + 4]) - 1)
    assert int.from_bytes(content[last : last + 4]) == 1
    content[last + 4 : last + 8] = (9 * 12800).to_bytes(4)
    path.write_bytes(content)
    show(path, 0.0, 10.0)
    assert len(decoded(path)) == 4


class TestRefusals:
    def test_empty(self, tmp_path):
        (tmp_path / "a.mp4").touch()
        assert reason(tmp_path / "a.mp4") == "empty"

    def test_no_video(self, tmp_path):
        (tmp_path / "a.mp4").write_bytes(b"<html>not found</html>" * 40)
        assert reason(tmp_path / "a.mp4").startswith("no video that can be decoded")

    def test_text(self, tmp_path, monkeypatch):
        """FFmpeg draws text files and follows lists; names that look like its protocols are files'."""
        (tmp_path / "a.txt").write_text("not found\n" * 40)
        (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile b.mp4\n")
        write(tmp_path / "b.mp4", grey_levels(4), codec="mpeg4")
        for name in ("a.txt", "list.mp4"):
            assert reason(tmp_path / name).startswith("no video that can be decoded")
        (tmp_path / "b.mp4").rename(tmp_path / "http:b.mp4")
        monkeypatch.chdir(tmp_path)
        assert len(list(read_frames(Path("http:b.mp4"), PLAIN))) == 4

    def test_sound_alone(self, tmp_path):
        assert reason(write_sound(tmp_path / "a.mp4")) == "it has no video, sound alone"

    def test_one_frame(self, tmp_path):
        path = write(tmp_path / "a.mp4", noise(0, 1), codec="mpeg4")
        assert reason(path, replace(PLAIN, min_frames=8)) == "1 frame, and min_frames is 8"
        assert len(decoded(path)) == 1

    def test_cut_short(self, tmp_path):
        """An AVI file of which half came, and an MP4 file whose index, at its end, is missing."""
        for ending in (".avi", ".mp4"):
            path = write(tmp_path / f"a{ending}", noise(0, 60, 64, 64), codec="mpeg4")
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            assert reason(path).startswith("cut short" if ending == ".avi" else "no video that can be decoded")

    @pytest.mark.parametrize("ending", [".mp4", ".mkv", ".flv"])
    def test_half_of_a_file_whose_header_came_first(self, tmp_path, ending):
        path = write(tmp_path / f"a{ending}", noise(0, 60, 64, 64), codec="flv" if ending == ".flv" else "mpeg4")
        if ending == ".mp4":
            path = remux(path, tmp_path / "b.mp4", {"movflags": "faststart"})
        assert len(list(read_frames(path, PLAIN))) == 60
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
        assert re.match(r"cut short: (1\.[0-9]|0\.[5-9]) of 2\.4 s|broken after \d+ frames", reason(path))

    def test_half_of_what_was_trimmed(self, tmp_path):
        """A second of its four is edited away, and of what is left a third came."""
        whole = write(tmp_path / "a.mp4", noise(0, 100), codec="mpeg4")
        path = remux(whole, tmp_path / "b.mp4", {"movflags": "faststart"})
        show(path, 1.0, 3.0)
        assert len(list(read_frames(path, PLAIN))) == 75
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        assert re.match(r"cut short: (0|1)\.\d of 3\.0 s", reason(path))

    def test_not_there(self, tmp_path):
        assert reason(tmp_path / "a.mp4") == "No such file or directory"

    def test_time_goes_back(self, tmp_path):
        """Two recordings in one file, each with a clock of its own."""
        path = write(tmp_path / "a.ts", noise(0, 40), codec="libx264")
        path.write_bytes(path.read_bytes() * 2)
        assert reason(path).startswith("its time stamps go back, after 1.")

    def test_time_leaps(self, tmp_path):
        path = write(tmp_path / "a.mkv", grey_levels(4), times_s=[0, 0.04, 500, 500.04])
        assert reason(path) == "its time stamps leap by 500 s, after 0.04 s"

    @pytest.mark.parametrize("ending", [".avi", ".mp4", ".mkv"])
    def test_bytes_that_were_altered(self, tmp_path, ending):
        """Whatever comes of it, it is frames or a reason."""
        path = write(tmp_path / f"a{ending}", noise(0, 30, 64, 64), codec="mpeg4")
        content = path.read_bytes()
        rng = np.random.default_rng(0)
        for number in range(20):
            broken = bytearray(content)
            for place in rng.integers(0, len(content), 30):
                broken[place] = rng.integers(256)
            path = tmp_path / f"{number}{ending}"
            path.write_bytes(broken)
            try:
                assert len(decoded(path)) > 0
            except UnreadableFile as error:
                assert error.reason
