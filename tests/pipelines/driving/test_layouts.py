"""What each layout says of its frames: the right angle on the right frame, and a reason for the rest."""

import json
import os

import h5py
import numpy as np
import pytest
from driving_files import grey, write_catalog, write_comma, write_livi, write_picture, write_tub

from pipelines.common.errors import UnreadableFile
from pipelines.common.workers import guarded
from pipelines.driving import livi_set
from pipelines.driving.layouts import DrivePath, find_drives, read_drive, read_piece


def read(layout, path, **known):
    return read_drive(path, DrivePath(layout, path, "d", **known))


def test_drives_are_found_by_what_is_in_their_folders(tmp_path):
    write_livi(tmp_path / "train" / "7", [(-1, 30), (1, 31)])
    write_tub(tmp_path / "tub", [0.0, 0.1])
    write_comma(tmp_path / "dataset", np.stack([grey(0)]), [0], [1.0])
    write_picture(tmp_path / "test" / "8" / "dvr_66x200" / "0.jpg", grey(0))
    (tmp_path / "link").symlink_to(tmp_path / "tub")
    found = find_drives(tmp_path)
    assert {(drive.layout, drive.name) for drive in found.drives} == {
        ("LiVi-Set", "train/7"),
        ("donkeycar tub", "tub"),
        ("comma.ai 2016", "dataset/camera/2016-01-01--00-00-00.h5"),
    }
    assert found.rejected == {"test/8": "no behavior.csv in it", "link": "a link to a folder"}


def test_what_leads_out_of_a_drive_is_not_read(tmp_path):
    """Neither a file nor a folder that is a link to elsewhere, whichever of a drive's it is."""
    write_livi(tmp_path / "else", [(-1, 30), (1, 31)])
    write_tub(tmp_path / "else", [0.0, 0.1])
    camera = write_comma(tmp_path / "else", np.stack([grey(0)]), [0], [1.0])
    inside = tmp_path / "raw"
    write_livi(inside / "livi", [(-1, 30), (1, 31)])
    write_tub(inside / "catalog", [0.0, 0.1])
    write_tub(inside / "images", [0.0, 0.1])
    write_comma(inside / "comma", np.stack([grey(0)]), [0], [1.0])
    for old, new in [
        ("livi/behavior.csv", "behavior.csv"),
        ("catalog/catalog_0.catalog", "catalog_0.catalog"),
        ("images/images", "images"),
        ("comma/log", "log"),
    ]:
        (inside / old).rename(tmp_path / old.replace("/", "_"))
        (inside / old).symlink_to(tmp_path / "else" / new)
    found = find_drives(inside)
    assert found.rejected == {
        "images/images": "a link to a folder",
        "images": "no images in it",
        "comma/log": "a link to a folder",
    }
    with pytest.raises(UnreadableFile, match=r"behavior.csv: a link to .*, out of its folder"):
        read("LiVi-Set", inside / "livi", rate=10.0)
    assert read("donkeycar tub", inside / "catalog").rejected["d/catalog_0.catalog"].endswith("out of its folder")
    with pytest.raises(UnreadableFile, match="it has no log"):
        read("comma.ai 2016", inside / "comma" / "camera" / camera.name)


def test_a_folder_that_cannot_be_listed_is_told_of(tmp_path, monkeypatch):
    write_tub(tmp_path / "a", [0.0, 0.1])
    write_tub(tmp_path / "b", [0.0, 0.1])
    listed = os.scandir

    def scandir(path):
        if str(path).endswith("/b"):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = find_drives(tmp_path)
    assert [drive.name for drive in found.drives] == ["a"]
    assert found.rejected == {"b": "Permission denied"}


def test_comma_frames_get_the_angle_of_the_first_row_that_names_them(tmp_path):
    """Frame 1 has six rows, frame 2 none, frame 3 three: a linspace over the log would be off for all but the first."""
    pointer = [0] * 5 + [1] * 6 + [3] * 3
    camera = write_comma(tmp_path, np.stack([grey(k, 16, 32) for k in range(4)]), pointer, np.arange(14) * 2.0)
    result = read("comma.ai 2016", camera)
    (session,) = result.sessions
    assert session.unit == "degrees"
    assert list(session.pictures) == [0, 1, 3]
    assert session.angle.tolist() == [0, 10, 22]
    assert session.time.tolist() == pytest.approx([1000.0, 1000.05, 1000.11])
    assert session.speed.tolist() == [9, 9, 9]
    assert result.rejected == {"d#2": "no row of the log names it"}
    piece = read_piece(camera, "comma.ai 2016", session.pictures, (16, 32), None)
    assert piece.frames[:, 0, 0, 0].tolist() == [0, 1, 3]


def test_frames_are_read_across_a_long_stretch_that_the_log_does_not_name(tmp_path):
    """100,000 frames between two that are asked for are 15 GB, and a worker has two."""
    with h5py.File(tmp_path / "camera.h5", "w") as file:
        pixels = file.create_dataset("X", (100_003, 3, 160, 320), "uint8", chunks=(1, 3, 160, 320), compression="lzf")
        for k in (0, 1, 100_001, 100_002):
            pixels[k] = k % 251
    pictures = [0, 1, 100_001, 100_002]
    piece = guarded(read_piece, tmp_path / "camera.h5", "comma.ai 2016", pictures, (32, 96), None)
    assert piece.frames[:, 16, 48, 0].tolist() == [k % 251 for k in pictures]


def test_comma_camera_that_runs_ahead_of_its_log_and_a_log_ahead_of_its_camera(tmp_path):
    frames = np.stack([grey(k, 16, 32) for k in range(6)])
    result = read("comma.ai 2016", write_comma(tmp_path / "a", frames, [0, 1, 2], [1.0, 2.0, 3.0]))
    assert list(result.sessions[0].pictures) == [0, 1, 2]
    assert result.rejected == {"d#3-5": "no row of the log names it"}
    result = read("comma.ai 2016", write_comma(tmp_path / "b", frames[:2], [0, 1, 2, np.nan], [1.0, 2.0, 3.0, 4.0]))
    assert list(result.sessions[0].pictures) == [0, 1]
    assert result.rejected["log/2016-01-01--00-00-00.h5#2-3"] == "cam1_ptr names no frame: the camera has 2"


def test_comma_angles_beyond_200_degrees_and_nan_are_out(tmp_path):
    frames = np.stack([grey(k, 16, 32) for k in range(4)])
    result = read("comma.ai 2016", write_comma(tmp_path, frames, range(4), [-200.0, 200.5, np.nan, 5.0]))
    assert result.sessions[0].angle.tolist() == [-200, 5]
    assert result.rejected == {"d#1": "an angle beyond 200 degrees", "d#2": "no number for its angle or time"}


@pytest.mark.parametrize("spoil", ["cut short", "no log", "no X", "no pointer", "link"])
def test_a_broken_comma_drive_says_why(tmp_path, spoil):
    camera = write_comma(tmp_path, np.stack([grey(k, 16, 32) for k in range(4)]), range(4), [1.0, 2, 3, 4])
    log = tmp_path / "log" / camera.name
    if spoil == "cut short":
        camera.write_bytes(camera.read_bytes()[:-4000])
    elif spoil == "no log":
        log.unlink()
    else:
        with h5py.File(log if spoil == "no pointer" else camera, "a") as file:
            del file["cam1_ptr" if spoil == "no pointer" else "X"]
            if spoil == "link":
                file["X"] = h5py.ExternalLink("other.h5", "/X")
    reason = {
        "link": "external link /X to /X in other.h5",
        "cut short": "truncated",
        "no log": "it has no log",
        "no X": "no X of uint8",
        "no pointer": "no cam1_ptr",
    }
    with pytest.raises(UnreadableFile, match=reason[spoil]):
        read("comma.ai 2016", camera)


def test_livi_columns_are_told_by_their_ranges(tmp_path):
    write_livi(tmp_path / "a", [(10, 30), (20, 31)])  # to one side alone: by itself it tells nothing
    write_livi(tmp_path / "b", [(-10, 30), (20, 31)])
    write_livi(tmp_path / "c", [(30, -10), (31, 20)])
    counts = {name: livi_set.below_zero(tmp_path / name) for name in "abc"}
    assert counts == {"a": (0, 0, 2), "b": (1, 0, 2), "c": (0, 1, 2)}
    assert livi_set.angle_column([counts["a"], counts["b"]]) == 0
    assert livi_set.angle_column([counts["c"]]) == 1
    assert livi_set.angle_column([counts["a"]]) is None
    assert livi_set.angle_column(list(counts.values())) is None
    (session,) = read("LiVi-Set", tmp_path / "c", angle_at=1, rate=5.0).sessions
    assert session.angle.tolist() == [-10, 20]
    assert session.speed.tolist() == pytest.approx([30 / 3.6, 31 / 3.6])
    assert session.time.tolist() == [0, 0.2]


def test_livi_pictures_without_a_row_and_rows_without_a_picture(tmp_path):
    write_livi(tmp_path, [(-10, 30), (1, 31), (2, 32), ("x", 33)])
    (tmp_path / "dvr_66x200" / "1.jpg").rename(tmp_path / "dvr_66x200" / "9.jpg")
    (tmp_path / "hidden.csv").write_text("0\n0\n1\n0\n")
    result = read("LiVi-Set", tmp_path, rate=10.0)
    (session,) = result.sessions
    assert list(session.pictures) == ["dvr_66x200/0.jpg", "dvr_66x200/2.jpg"]
    assert session.hidden.tolist() == [False, True]
    assert result.rejected == {
        "d#1": "dvr_66x200 has no such picture",
        "d#3": "no number for its angle or time",
        "d#9": "no row of behavior.csv is of it",
    }


def test_livi_rows_are_never_those_of_the_next_picture(tmp_path):
    """A header isn't the row of 0.jpg; pictures that are counted from 1 have no row that is known to be theirs."""
    write_livi(tmp_path, [(-10, 30), (1, 31), (2, 32)])
    labels = tmp_path / "behavior.csv"
    labels.write_text("angle,speed\n" + labels.read_text())
    result = read("LiVi-Set", tmp_path, rate=10.0)
    assert result.sessions[0].angle.tolist() == [-10, 1, 2]
    assert not result.rejected
    labels.write_text("nan,nan\n-10,30\n1,31\n")
    assert read("LiVi-Set", tmp_path, rate=10.0).sessions[0].numbers == [1, 2]
    (tmp_path / "dvr_66x200" / "0.jpg").rename(tmp_path / "dvr_66x200" / "3.jpg")
    with pytest.raises(UnreadableFile, match=r"has 1.jpg to 3.jpg: row k is of k.jpg from 0 on"):
        read("LiVi-Set", tmp_path, rate=10.0)


def test_livi_rows_of_other_than_two_columns_and_marks_of_other_than_two_kinds(tmp_path):
    write_livi(tmp_path, [(-10, 30), (1, 31), (2, 32), (3, 33)])
    (tmp_path / "behavior.csv").write_text("-10,30\n-1,5,31,2\n2\n3,33\n")
    result = read("LiVi-Set", tmp_path, rate=10.0)
    assert result.sessions[0].angle.tolist() == [-10, 3]
    assert result.rejected == {"d#1-2": "no number for its angle or time"}
    (tmp_path / "hidden.csv").write_text("0\nTrue\n1\n0\n")
    with pytest.raises(UnreadableFile, match=r"hidden.csv has 'True', which is neither 0 nor 1"):
        read("LiVi-Set", tmp_path, rate=10.0)


def test_a_tub_with_deleted_broken_and_unordered_records_and_paths_of_another_machine(tmp_path):
    write_tub(tmp_path, [0.0, 0.1, 0.2, 0.3, 0.4, 1.5, 0.6, 0.7, 0.8], deleted=[3])
    records = [json.loads(line) for line in (tmp_path / "catalog_0.catalog").read_text().splitlines()]
    records[1]["cam/image_array"] = "/home/pi/car/data/images/1_cam_image_array_.jpg"
    records[2]["_timestamp_ms"] += 10**9
    records[4]["cam/image_array"] = "/etc/passwd"
    records[8]["cam/image_array"] = r"C:\car\data\images\8_cam_image_array_.jpg"
    records[6]["user/mode"] = "local_pilot"
    records[7]["user/angle"] = 10**400
    write_catalog(tmp_path, records, deleted=[3])
    with (tmp_path / "catalog_0.catalog").open("a") as stream:
        stream.write('{"_index": 8, "user/ang')
    result = read("donkeycar tub", tmp_path)
    (session,) = result.sessions
    assert (session.name, session.unit) == ("d/22-01-01_0", "share of full lock")
    assert session.angle.tolist() == [0.0, 0.1, 0.8]
    assert list(session.pictures) == [f"images/{k}_cam_image_array_.jpg" for k in (0, 1, 8)]
    assert result.rejected == {
        "d/22-01-01_0#2": "out of order: its time doesn't come after the one before",
        "d#4": "its picture isn't in images/",
        "d/22-01-01_0#5": "an angle beyond 1 share of full lock",
        "d#6": "not driven by hand",
        "d#7": "no number for user/angle",
        "d/catalog_0.catalog#9": "no record that can be read",
    }


def test_names_in_a_tub_that_no_file_can_have_cost_their_records(tmp_path):
    write_tub(tmp_path, [0.0, 0.1, 0.2, 0.3])
    records = [json.loads(line) for line in (tmp_path / "catalog_0.catalog").read_text().splitlines()]
    for record, name in zip(records, ("a" * 400 + ".jpg", "a\0.jpg"), strict=False):
        record["cam/image_array"] = name
    for record in records:
        record["_session_id"] = "\ud800"
    write_catalog(tmp_path, records)
    result = read("donkeycar tub", tmp_path)
    assert [(session.name, session.angle.tolist()) for session in result.sessions] == [(r"d/\ud800", [0.2, 0.3])]
    assert result.rejected == {"d#0-1": "its picture isn't in images/"}


def test_a_constant_angle_and_a_tub_that_is_none(tmp_path):
    write_tub(tmp_path / "a", [0.25] * 4)
    assert read("donkeycar tub", tmp_path / "a").rejected == {
        "d/22-01-01_0": "the angle is 0.25 all along: nothing to learn from"
    }
    (tmp_path / "manifest.json").write_text("{}\n" * 5)
    with pytest.raises(UnreadableFile, match="is none of a tub"):
        read("donkeycar tub", tmp_path)


def test_frames_of_another_size_broken_and_linked_from_elsewhere_are_named(tmp_path):
    write_livi(tmp_path / "d", [(-10, 30), (1, 31), (2, 32), (3, 33)])
    pictures = tmp_path / "d" / "dvr_66x200"
    write_picture(pictures / "1.jpg", grey(1, 33, 100))
    (pictures / "2.jpg").write_bytes(b"nothing")
    few = read_piece(tmp_path / "d", "LiVi-Set", [f"dvr_66x200/{k}.jpg" for k in (1, 0, 3)], (32, 96), None)
    assert (few.places, few.size) == ([1, 2], (66, 200))  # the first frame alone is another
    assert few.bad == {0: "a frame of 33 × 100 pixels in a drive of 66 × 200"}
    (pictures / "3.jpg").unlink()
    write_picture(tmp_path / "other.jpg", grey(3))
    (pictures / "3.jpg").symlink_to(tmp_path / "other.jpg")
    piece = read_piece(tmp_path / "d", "LiVi-Set", [f"dvr_66x200/{k}.jpg" for k in range(4)], (32, 96), None)
    assert piece.places == [0]
    assert piece.size == (66, 200)
    assert piece.bad[1] == "a frame of 33 × 100 pixels in a drive of 66 × 200"
    assert piece.bad[2] == "no picture that can be decoded"
    assert piece.bad[3].endswith("out of its folder")
