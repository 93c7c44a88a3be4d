"""The stage: every frame with its own angle in the store, and a reason for the rest."""

import csv

import numpy as np
import pytest
import xarray as xr
from driving_files import grey, ingest_params, small_simulation, write_comma, write_livi, write_picture, write_tub
from pydantic import ValidationError

from pipelines.common.errors import UserError
from pipelines.common.provenance import sha256
from pipelines.driving.camera import Camera
from pipelines.driving.drives import open_drives
from pipelines.driving.ingest import ingest_drives
from pipelines.driving.sequences import SPLITS
from pipelines.driving.simulate import draw_session, simulate_drives
from pipelines.driving.view import fit


class Run:
    def __init__(self, folder):
        self.raw, self.store, self.quarantine = folder / "raw", folder / "out" / "drives.zarr", folder / "out" / "q.csv"

    def __call__(self, **changes):
        return ingest_drives(self.raw, self.store, self.quarantine, ingest_params(**changes))

    @property
    def reasons(self):
        with self.quarantine.open(newline="") as stream:
            return {row["file"]: row["reason"] for row in csv.DictReader(stream)}


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


def angles(count, start=0):
    return [(float(k - 20), 30.0) for k in range(start, start + count)]


def test_store(run, capsys):
    """Four LiVi-Set drives of 70 frames, more than a piece; in one of them a frame is broken."""
    for number in range(4):
        write_livi(run.raw / str(number), angles(70, number), base=60 * number)
    (run.raw / "2" / "dvr_66x200" / "66.jpg").write_bytes(b"nothing")
    assert run() == 1
    assert run.reasons == {"2#66": "no picture that can be decoded"}
    drives = open_drives(run.store)
    rows = drives.rows
    assert len(drives) == 279
    assert drives.attributes["angle_unit"] == "degrees"
    assert drives.sessions["name"].tolist() == ["0", "1", "2", "3"]
    levels = drives.frames(0, 279)[:, 16, 48, 0].astype(int)
    assert np.abs(levels - 60 * rows["session"] - (rows["angle"] + 20 - rows["session"])).max() <= 1
    assert rows["speed"].unique() == pytest.approx([30 / 3.6])
    gap = rows[(rows["session"] == 2) & (rows["time"] > 6.45)]
    assert np.diff(gap["time"]) == pytest.approx([0.2, 0.1, 0.1])
    assert gap["sequence"].nunique() == 1  # max_gap_s is 0.25
    assert rows.groupby("session")["split"].nunique().tolist() == [1, 1, 1, 1]
    assert "behavior.csv is angle, speed: " in capsys.readouterr().out
    with xr.open_zarr(run.store, consolidated=False) as found:
        assert found["frames"].dims == ("frame", "y", "x", "channel")
        assert found["split"].attrs["flag_meanings"] == "train validation test unused"


def test_windows_bridge_no_gap_and_the_store_is_the_same_bytes_again(run):
    for number in range(3):
        write_livi(run.raw / str(number), angles(40, number), base=50 * number)
    for k in (10, 11, 12):
        (run.raw / "1" / "dvr_66x200" / f"{k}.jpg").unlink()
    run(max_gap_s=0.15)
    first = sha256(run.store), run.quarantine.read_bytes()
    drives = open_drives(run.store)
    for split in ("train", "validation", "test"):
        for length, ahead in ((5, 0), (10, 3)):
            starts = drives.windows(split, length, ahead)
            assert len(starts)
            for start in starts:
                part = drives.rows.iloc[start : start + length + ahead]
                assert part["session"].nunique() == part["split"].nunique() == 1
                assert np.diff(part["time"]).max() < 0.15
    whole = drives.rows.groupby("session").size().tolist()
    assert whole == [40, 37, 40]
    runs = drives.rows.groupby("sequence").size().tolist()
    assert runs == [40, 10, 27, 40]
    windows = sum(len(drives.windows(split, 5)) for split in ("train", "validation", "test"))
    assert windows == 36 + 6 + 23 + 36
    run(max_gap_s=0.15)
    assert (sha256(run.store), run.quarantine.read_bytes()) == first


def test_a_tub_of_one_session_and_sampling(run):
    write_tub(run.raw, [0.01 * (k % 60) for k in range(240)])
    assert run(height=96, width=96, stretch_minutes=0.05, margin_s=0.5) == 0
    drives = open_drives(run.store)
    assert drives.attributes["angle_unit"] == "share of full lock"
    assert len(drives) == 120  # every other of 20 a second
    assert np.isnan(drives.rows["speed"]).all()
    levels = drives.frames(0, 120)[:, 50, 50, 0].astype(int)
    assert np.abs(levels - np.arange(0, 240, 2)).max() <= 1
    assert drives.rows["angle"].to_numpy() == pytest.approx(0.01 * (np.arange(0, 240, 2) % 60), abs=1e-6)


def test_comma_beside_livi_and_what_is_broken(run, capsys):
    """Ten frames a second of a camera of twenty whose log has four or six rows a frame."""
    frames = np.stack([grey(k, 160, 320) for k in range(60)])
    pointer = np.repeat(np.arange(60), [4, 6] * 30)
    write_comma(run.raw / "comma", frames, pointer, pointer * 3.0 - 50)
    for number in range(3):
        write_livi(run.raw / "livi" / str(number), angles(20, number), base=70 * number)
    write_livi(run.raw / "livi" / "copy", angles(20, 1), base=70)
    write_livi(run.raw / "livi" / "still", [(5.0, 30.0)] * 20)
    write_picture(run.raw / "livi" / "0" / "dvr_66x200" / "3.jpg", grey(3, 30, 40))
    run(rate=10.0)
    assert "LiVi-Set and comma.ai 2016 in one store: nothing says that a degree" in capsys.readouterr().out
    drives = open_drives(run.store)
    comma = drives.rows[
        drives.rows["session"] == drives.sessions.index[drives.sessions["layout"] == "comma.ai 2016"][0]
    ]
    assert len(comma) == 30
    levels = drives.frames(int(comma.index[0]), 30)[:, 5, 5, 0]
    assert comma["angle"].to_numpy() == pytest.approx(levels * 3.0 - 50)
    assert run.reasons == {
        "livi/0#3": "a frame of 30 × 40 pixels in a drive of 66 × 200",
        "livi/copy": "20 of its 20 frames are those of livi/1: unused",
        "livi/still": "the angle is 5 all along: nothing to learn from",
    }


def test_a_tub_and_its_cleaned_copy_are_on_one_side_of_a_split(run):
    """The copy is never drawn, however few rows were deleted; of three drives one is drawn for each split."""
    for number in range(3):
        write_tub(run.raw / f"tub_{number}", [0.01 * k for k in range(40)])
        for k in range(40):
            write_picture(run.raw / f"tub_{number}" / "images" / f"{k}_cam_image_array_.jpg", grey(70 * number + k))
    deleted = [4, 5, *range(20, 30)]
    write_tub(run.raw / "tub_0_clean", [0.01 * k for k in range(40)], deleted=deleted)
    for picture in (run.raw / "tub_0" / "images").iterdir():
        (run.raw / "tub_0_clean" / "images" / picture.name).write_bytes(picture.read_bytes())
    assert run(rate=None) == 1
    assert run.reasons == {"tub_0_clean/22-01-01_0": "28 of its 28 frames are those of tub_0/22-01-01_0: unused"}
    drives = open_drives(run.store)
    split = drives.rows.groupby("session")["split"].unique()
    of = {name: [SPLITS[code] for code in split[number]] for number, name in drives.sessions["name"].items()}
    assert of.pop("tub_0_clean/22-01-01_0") == ["unused"]
    assert sorted(of.values()) == [["test"], ["train"], ["validation"]]


def test_folders_that_are_named_as_splits_are_these(run):
    """LiVi-Set's test has no angles: what is beside train is the test, and validation is drawn."""
    for number, folder in enumerate(["train", "train", "train", "train", "val"]):
        write_livi(run.raw / folder / str(number), angles(20, number), base=50 * number)
    write_picture(run.raw / "test" / "9" / "dvr_66x200" / "0.jpg", grey(9))
    run()
    drives = open_drives(run.store)
    split = drives.rows.groupby("session")["split"].first()
    of = {name: SPLITS[split[number]] for number, name in drives.sessions["name"].items()}
    assert of.pop("val/4") == "test"
    assert sorted(of.values()) == ["train", "train", "train", "validation"]
    assert run.reasons == {"test/9": "no behavior.csv in it"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rate": 2.0}, r"max_gap_s 0\.25: at rate 2 frames are 0\.5 s apart"),
        ({"stretch_minutes": 0.5, "margin_s": 31.0}, r"margin_s 31 is longer than a stretch of 0\.5 minutes"),
    ],
)
def test_parameters_that_leave_no_sequence_or_no_margin_are_refused(changes, reason):
    """Each frame would be a sequence of its own; the stretch after the next would begin within the margin."""
    with pytest.raises(ValidationError, match=reason):
        ingest_params(**changes)


def test_a_table_that_cannot_be_read_costs_its_drive(run):
    for number in range(5):
        write_livi(run.raw / str(number), angles(12, number), base=12 * number)
    (run.raw / "3" / "behavior.csv").write_bytes(b"\xff\xfe1,2\n")
    (run.raw / "4" / "behavior.csv").unlink()
    (run.raw / "4" / "behavior.csv").symlink_to("gone.csv")
    assert run() == 2
    assert open_drives(run.store).sessions["name"].tolist() == ["0", "1", "2"]
    assert run.reasons["3"].startswith("its behavior.csv: 'utf-8' codec can't decode")
    assert run.reasons["4"] == "its behavior.csv: No such file or directory"


def test_two_units_no_drive_and_nothing_of_use_are_refused_in_a_line(run, tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        run()
    run.raw.mkdir()
    with pytest.raises(UserError, match="no drive in any known layout"):
        run()
    write_livi(run.raw / "a", [(5.0, 30.0)] * 20)
    with pytest.raises(UserError, match=r"nothing of use in it; a: its behavior.csv: which column is the angle"):
        run()
    assert not run.store.exists()
    assert run.reasons == {"a": "its behavior.csv: which column is the angle can't be told"}
    write_livi(run.raw / "a", angles(20))
    write_tub(run.raw / "b", [0.0, 0.1, 0.2])
    with pytest.raises(UserError, match="some drives have degrees and others shares of full lock"):
        run()


def test_simulated_drives_are_read_as_they_were_drawn(run):
    simulate_drives(run.raw, small_simulation())
    assert run(height=64, width=192) == 0
    drives = open_drives(run.store)
    for number, name in enumerate(drives.sessions["name"]):
        drive, scene = draw_session(1, int(name) - 1, 3, 10)
        of_session = drives.rows[drives.rows["session"] == number]
        assert of_session["angle"].to_numpy() == pytest.approx(drive.angle, abs=0.006)
        assert of_session["speed"].to_numpy() == pytest.approx(drive.speed, abs=0.006)
        assert of_session["hidden"].tolist() == (drive.hidden == 1).tolist()
        drawn = fit(Camera(drive, scene, (66, 200)).frame(7), 64, 192).astype(float)
        stored = drives.frames(int(of_session.index[7]), 1)[0]
        assert np.abs(stored - drawn).mean() < 4  # JPEG's
