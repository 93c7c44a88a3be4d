"""What a team looks at before training: the store's facts as text, and a page with pictures in itself."""

import base64
import re
from datetime import datetime, timedelta

import numpy as np
import pytest
from archive import moving_cells, write_store
from radar_files import name_of, write_odim
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.common.errors import UserError
from pipelines.radar.inspection import inspect_store
from pipelines.radar.store import open_frames

START = datetime(2021, 2, 28, 23, 50)
PARAMS = "params.yaml"


def at(i: int) -> datetime:
    return START + timedelta(minutes=5 * i)


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """Six frames with one missing among them, one of another grid, and a broken file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for i in (0, 1, 2, 4, 5, 6):
        raw = np.full((12, 16), 10 * i, np.uint8)
        raw[0] = 255
        write_odim(tmp_path / "in" / name_of(at(i)), raw, at(i), quantity="RATE", gain=0.1, offset=0.0)
    write_odim(tmp_path / "in" / "other.h5", np.ones((9, 9), np.uint8), at(9), quantity="RATE")
    (tmp_path / "in" / "<b>.h5").write_bytes(b"")
    return tmp_path


def copy_params(folder) -> None:
    from conftest import write_params

    write_params(folder, {"simulated": {}})


def test_ingest_and_inspect_at_a_terminal(archive):
    copy_params(archive)
    done = CliRunner().invoke(app, ["ingest", "in", "out/own.zarr"])
    assert done.exit_code == 12, done.output  # two files in quarantine
    assert "2 files in quarantine: out/own.quarantine.csv" in done.stdout
    shown = CliRunner().invoke(app, ["inspect", "out/own.zarr"])
    assert shown.exit_code == 0, shown.output
    said = {line.split()[0]: " ".join(line.split()[1:]) for line in shown.stdout.splitlines()[1:]}
    assert said["frames"] == "6, every 5 minutes, 1 missing between the first and the last"
    assert said["time"].startswith("2021-02-28T23:50:00 to 2021-03-01T00:20:00 UTC")
    assert said["gap"] == "2021-03-01T00:00:00 to 2021-03-01T00:10:00: 1 missing"
    assert said["valid"].startswith("91.7 % of the pixels")
    assert said["highest"] == "6 mm/h, at 2021-03-01T00:20:00 UTC"
    assert said["rain"].startswith("3 mm/h")  # (0 + 1 + 2 + 4 + 5 + 6) / 6
    page = (archive / "out" / "own.html").read_text()
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(pictures) == 2
    assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in pictures)
    assert "&lt;b&gt;.h5" in page
    assert "<b>" not in page
    assert "9×9 pixels, not 12×16" in page
    assert not re.search(r"https?://", page)

    strict = CliRunner().invoke(app, ["ingest", "in", "out/strict.zarr", "--strict"])
    assert isinstance(strict.exception, UserError)
    assert "<b>.h5: empty" in str(strict.exception)
    (archive / "in" / "<b>.h5").unlink()
    (archive / "in" / "other.h5").unlink()
    assert CliRunner().invoke(app, ["ingest", "in", "out/own.zarr"]).exit_code == 0


def test_a_store_without_tables(archive):
    copy_params(archive)
    CliRunner().invoke(app, ["ingest", "in", "own.zarr"])
    with_table = inspect_store(archive / "own.zarr", archive / "a.html")
    (archive / "own.quality.csv").unlink()
    (archive / "own.quarantine.csv").unlink()
    without = inspect_store(archive / "own.zarr", archive / "a.html")
    facts = [[line for line in text.splitlines() if "quarantine" not in line] for text in (with_table, without)]
    assert facts[0] == facts[1]
    with pytest.raises(UserError, match="not a store of frames"):
        inspect_store(archive / "in", archive / "b.html")


def test_someone_elses_store_from_south_to_north_is_one_line(tmp_path):
    own = open_frames(write_store(tmp_path / "own.zarr", moving_cells("2024-06-01T12:00", 2)))
    own.drop_encoding().isel(y=slice(None, None, -1)).to_zarr(tmp_path / "south.zarr", zarr_format=3)
    with pytest.raises(UserError, match=r"south\.zarr: y must run north to south$"):
        inspect_store(tmp_path / "south.zarr", tmp_path / "south.html")
    assert not (tmp_path / "south.html").exists()
