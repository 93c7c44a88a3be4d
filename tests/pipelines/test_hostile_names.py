"""Hostile names go through ingestion, inspection, tables and pictures: shown as they are, and nothing else."""

import csv
from collections.abc import Iterator
from datetime import datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from conftest import write_params
from hostile import NAMES, in_markdown, is_clean, named
from radar_files import write_odim
from typer.testing import CliRunner
from video_files import ingest_params, noise, write

from pipelines.action.compare import STREAMS, write_table
from pipelines.action.evaluate import WHOLE, draw_confusion
from pipelines.cli import app
from pipelines.radar.quality_table import tables_of
from pipelines.radar.store import open_frames
from pipelines.video.clips import open_clips
from pipelines.video.ingest import ingest_video

START = datetime(2024, 6, 1, 12)
WORDS = "[x](http://evil.example) <b>\n=1\x1b[31m\u202e"  # of an attribute that a reason quotes


class Elements(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found, self.text = set[tuple[str, tuple[str, ...]]](), ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add((tag, tuple(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of radar files: good and broken ones under each name, and one with hostile attributes."""
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path, {"simulated": {}})
    (tmp_path / "in").mkdir()
    raw = np.full((12, 16), 10, np.uint8)
    for k, name in enumerate(NAMES):
        time = START + timedelta(minutes=5 * k)
        write_odim(tmp_path / "in" / name.replace("/", "∕"), raw + k, time, quantity="RATE", gain=0.1, offset=0.0)
    named(tmp_path / "in" / "broken", b"not a radar file")
    for group, attribute in (("dataset1/data1/what", "quantity"), ("where", "projdef")):
        path = write_odim(tmp_path / "in" / f"{attribute}.h5", raw, START, quantity="RATE")
        with h5py.File(path, "r+") as file:
            file[group].attrs[attribute] = np.bytes_(WORDS.encode())
    return tmp_path


def cells(table: Path) -> list[list[str]]:
    with table.open(newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream))


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def test_an_archive_is_ingested_and_inspected(archive: Path) -> None:
    done = CliRunner().invoke(app, ["ingest", "in", "out/own.zarr"])
    assert done.exit_code == 10 + len(NAMES) + 2, done.output
    sources = [str(name) for name in open_frames(Path("out/own.zarr"))["source_file"].to_numpy()]
    assert len(sources) == len(NAMES)
    shown = CliRunner().invoke(app, ["inspect", "out/own.zarr"])
    assert shown.exit_code == 0, shown.output
    assert all(map(is_clean, (done.output + shown.output).split("\n")))

    quarantine, quality = map(cells, tables_of(Path("out/own.zarr")))
    assert (len(quarantine), len(quality)) == (1 + len(NAMES) + 2, 1 + len(NAMES))
    for cell in (cell for row in quarantine + quality for cell in row):
        assert is_clean(cell) and (is_number(cell) or not cell.startswith(("=", "+", "-", "@"))), cell
    assert any("http://evil.example" in row[1] for row in quarantine), "the reason quotes what the file says"

    page = Elements(Path("out/own.html").read_text(encoding="utf-8"))
    assert {tag for tag, _ in page.found} <= {
        *("html", "meta", "title", "style", "h1", "h2", "table", "tr", "td", "th", "p", "img"),
    }
    assert {attributes for tag, attributes in page.found if tag not in ("html", "meta")} <= {(), ("alt", "src")}
    assert "<script>alert(1)<script> www.evil.example" in page.text
    assert is_clean(page.text.replace("\n", ""))


def test_a_strict_ingestion_ends_in_one_line(archive: Path) -> None:
    done = CliRunner().invoke(app, ["ingest", "in", "out/own.zarr", "--strict"])
    assert done.exit_code != 0 and is_clean(str(done.exception))


def results(classes: list[str]) -> Iterator[tuple[str, tuple[pd.DataFrame, dict[str, float]]]]:
    same = ("clip", "group", "label", "predicted")
    rows = [
        {"stream": stream, "observed": WHOLE, "rank": 1} | dict.fromkeys(same, label)
        for stream in STREAMS
        for label in classes
    ]
    for model in ("scs", "convlstm"):
        yield model, (pd.DataFrame(rows), {"top1": 1.0, "mean_average_precision": 1.0})


@pytest.mark.filterwarnings("ignore:Glyph")  # not every font has every script
def test_videos_classes_and_their_table_and_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    classes = [name.removesuffix(".h5").replace("/", "∕") for name in NAMES]
    for k, label in enumerate(classes):
        for group in range(3):
            write(tmp_path / "raw" / label / f"v_{k}_g{group}.avi", noise(10 * k + group, 8))
        named(tmp_path / "raw" / label, b"not a video", [f"{NAMES[k]}.avi"])
    params = ingest_params(short_side=32, rate=None, min_frames=2)
    assert ingest_video(tmp_path / "raw", tmp_path / "clips.zarr", tmp_path / "quarantine.csv", params) == len(NAMES)
    assert all(map(is_clean, capsys.readouterr().out.split("\n")))
    assert all(is_clean(cell) and cell[0] not in "=+-@" for row in cells(tmp_path / "quarantine.csv") for cell in row)
    found = open_clips(tmp_path / "clips.zarr").table["label_name"].unique().tolist()
    assert sorted(found) == sorted(classes)

    write_table(dict(results(found)), tmp_path / "table.md", tmp_path / "table.json")
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert not in_markdown(text)[1]
    assert "<script>alert(1)<script> www.evil.example me@evil.example" in in_markdown(text)[0]
    draw_confusion(next(results(found))[1][0], found, "the confusion", tmp_path / "confusion.png")
    assert (tmp_path / "confusion.png").stat().st_size > 0
