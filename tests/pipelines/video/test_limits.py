"""A small video or picture that would take gigabytes goes into quarantine, and reads nothing outside of its folder."""

import csv
import os
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import pytest
from video_files import HUGE, ingest_params, noise, write, write_huge

import pipelines.common.workers
from pipelines.common.errors import UserError
from pipelines.common.limits import Limits
from pipelines.common.workers import Decoders
from pipelines.video import ingest as stage
from pipelines.video.clips import open_clips

LIMITS = Limits(memory_mb=1024)
MEMORY = "too large: it takes more than 1024 MB of memory to decode (max_memory_mb)"


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a good video, and one worker to decode what is in it."""
    workers = Decoders(1, limits=LIMITS)
    monkeypatch.setattr(
        pipelines.common.workers, "decoders", lambda limits, most: workers if limits == LIMITS else None
    )
    write(tmp_path / "raw" / "a" / "good.mkv", noise(1, 12))
    return tmp_path / "raw"


def ingested(raw: Path) -> dict[str, str]:
    """Ingest the folder, of which the good video alone is of use; return why the others aren't."""
    store, table = raw.parent / "clips.zarr", raw.parent / "quarantine.csv"
    stage.ingest_video(
        raw, store, table, ingest_params(short_side=32, rate=None, min_frames=2, max_memory_mb=LIMITS.memory_mb)
    )
    assert list(open_clips(store).table["clip"]) == ["a/good"]
    with table.open(newline="") as stream:
        return {row["file"]: row["reason"] for row in csv.DictReader(stream)}


def png(path: Path) -> None:
    """Write black pixels as PNG has them (ISO/IEC 15948): 256 MB of grey that take 256 kB."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    packer = zlib.compressobj(1)
    pixels = b"".join(packer.compress(bytes(1 + HUGE)) for _ in range(HUGE)) + packer.flush()
    header = struct.pack(">IIBBBBB", HUGE, HUGE, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))


def gif(path: Path) -> None:
    """Write a GIF whose screen, and the picture on it, are huge."""
    content = bytearray(write(path, noise(3, 3), codec="gif").read_bytes())
    struct.pack_into("<HH", content, 6, HUGE, HUGE)
    path.write_bytes(content)


def test_what_takes_too_much_memory(raw: Path) -> None:
    folders = [raw / "a" / name for name in ("png", "sparse")]
    for folder in folders:
        folder.mkdir()
        for number in range(3):
            cv2.imwrite(str(folder / f"{number}.png"), noise(number, 1)[0])
    png(folders[0] / "1.png")
    with (folders[1] / "1.png").open("r+b") as stream:
        stream.truncate(3 << 30)
    write_huge(raw / "a" / "header.mov")
    gif(raw / "a" / "screen.gif")
    assert sum(path.stat().st_blocks for path in raw.rglob("*")) * 512 < 4_000_000
    workers = pipelines.common.workers.decoders(LIMITS, most=1)
    process = workers.call(os.getpid, ())
    assert ingested(raw) == dict.fromkeys(("a/header.mov", "a/png", "a/screen.gif", "a/sparse"), MEMORY)
    assert workers.call(os.getpid, ()) == process, "none ended the worker"
    status = workers.call(Path.read_text, (Path("/proc/self/status"),))
    assert int(re.search(r"VmPeak:\s*(\d+) kB", status)[1]) <= 1024 * LIMITS.memory_mb


def test_lists_of_other_files_are_no_videos(raw: Path) -> None:
    """FFmpeg's readers of lists would open what they name, addresses too."""
    secret = write(raw.parent / "secret.mkv", noise(4, 12))
    lists = {
        "concat": f"ffconcat version 1.0\nfile {secret}\n",
        "hls": f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n",
        "address": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=a\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
        "dash": "<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011' type='static'><Period>"
        f"<AdaptationSet><Representation id='1'><BaseURL>{secret}</BaseURL></Representation></AdaptationSet>"
        "</Period></MPD>",
    }
    for name, content in lists.items():
        (raw / "a" / f"{name}.mp4").write_text(content)
    with av.open(str(raw / "a" / "concat.mp4"), options={"safe": "0"}) as followed:  # as it is without the check
        assert followed.format.name == "concat"
        assert len(list(followed.decode(video=0))) == 12
    reasons = ingested(raw)
    assert reasons.keys() == {f"a/{name}.mp4" for name in lists}
    assert all(reason.startswith("no video that can be decoded") for reason in reasons.values())


def test_links_lead_nowhere_outside_of_the_folder(raw: Path) -> None:
    outside = write(raw.parent / "outside" / "secret.mkv", noise(5, 12)).parent
    cv2.imwrite(str(outside / "3.png"), noise(6, 1)[0])
    (raw / "a" / "pictures").mkdir()
    for number in range(3):
        cv2.imwrite(str(raw / "a" / "pictures" / f"{number}.png"), noise(7, 3)[number])
    for link, target in (
        ("a/file.mkv", outside / "secret.mkv"),
        ("a/up.mkv", "../../outside/secret.mkv"),
        ("a/folder", outside),
        ("a/pictures/3.png", outside / "3.png"),
        ("a/nowhere.mkv", "gone.mkv"),
    ):
        (raw / link).symlink_to(target)
    file = f"a link to {outside / 'secret.mkv'}, out of its folder"
    assert ingested(raw) == {
        "a/file.mkv": file,
        "a/folder": f"a link to {outside}, out of its folder",
        "a/nowhere.mkv": "No such file or directory",
        "a/pictures": f"3.png: a link to {outside / '3.png'}, out of its folder",
        "a/up.mkv": file,
    }


def test_a_list_of_videos_is_not_read_through_a_link_out_of_the_folder(raw: Path) -> None:
    outside = raw.parent / "classInd.txt"
    outside.write_text("1 a\n")
    (raw / "classInd.txt").symlink_to(outside)
    assert ingested(raw).keys() == {"classInd.txt"}


def test_a_link_within_the_folder_is_followed(raw: Path) -> None:
    (raw / "a" / "good.mkv").rename(raw / "kept.mkv")
    (raw / "a" / "good.mkv").symlink_to("../kept.mkv")
    assert ingested(raw) == {"kept.mkv": "in no class's folder"}


def test_what_is_no_file_goes_into_quarantine(raw: Path, nest: Callable[[Path], str]) -> None:
    for name in ("a/clip.mp4", "classInd.txt", "train.csv", "a/pictures/1.png"):
        (raw / name).parent.mkdir(exist_ok=True)
        os.mkfifo(raw / name)
    cv2.imwrite(str(raw / "a" / "pictures" / "0.png"), noise(1, 1)[0])
    long = nest(raw)
    assert ingested(raw) == {
        "a/clip.mp4": "a pipe, no file",
        "a/pictures": "1.png: a pipe, no file",
        "classInd.txt": "a pipe, no file",
        long: "File name too long",
        "train.csv": "a pipe, no file",
    }


def test_a_list_that_is_too_large_is_not_read(raw: Path) -> None:
    with (raw / "train.csv").open("wb") as stream:
        stream.write(b"label,youtube_id,time_start,time_end,split\n")
        stream.truncate(65 << 20)
    with pytest.raises(UserError, match=r"train\.csv: too large: a list has at most 64 MB"):
        ingested(raw)
    (raw / "train.csv").write_bytes(bytes(65 << 20))  # no table of videos, nor a line
    assert ingested(raw) == {}
