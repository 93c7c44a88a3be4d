"""Folders as UCF-101, HMDB-51 and Kinetics come, and as people keep their own; splits never part a group."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.common.errors import UserError
from pipelines.common.splits import draw_splits, parted_groups
from pipelines.video.layouts import Listing, list_videos


def files(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def listed(folder: Path, split: int = 1, group: str | None = None) -> Listing:
    return list_videos(folder, split=split, group=group)


def told(listing: Listing, *what: str) -> dict[str, tuple]:
    return {video.path.name: tuple(getattr(video, name) for name in what) for video in listing.videos}


def test_ucf101(tmp_path):
    """Lists in a folder of their own, videos in folders of classes; a class's number is the list's."""
    files(
        tmp_path, "Walk/v_Walk_g01_c01.avi", "Walk/v_Walk_g02_c01.avi", "Run/v_Run_g02_c01.avi", "Run/v_Run_g09_c01.avi"
    )
    lists = tmp_path / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "classInd.txt").write_text("1 Walk\r\n2 Run\r\n")
    (lists / "trainlist02.txt").write_text("Walk/v_Walk_g01_c01.avi 1\nRun/v_Run_g03_c01.avi 2\n")
    (lists / "testlist02.txt").write_text("Walk/v_Walk_g02_c01.avi\nRun/v_Run_g02_c01.avi\n")
    found = listed(tmp_path, split=2)
    assert (found.layout, found.classes) == ("ucf101", ["Walk", "Run"])
    assert told(found, "label", "group", "split") == {
        "v_Walk_g01_c01.avi": ("Walk", "g01", "train"),
        "v_Walk_g02_c01.avi": ("Walk", "g02", "test"),
        "v_Run_g02_c01.avi": ("Run", "g02", "test"),
    }
    assert found.rejected == {
        "Run/v_Run_g09_c01.avi": "in none of the lists",
        "v_Run_g03_c01": "missing: it is in a list, and there is no such file",
    }
    with pytest.raises(UserError, match=r"no trainlist01\.txt"):
        listed(tmp_path)


def test_ucf101_as_frame_folders(tmp_path):
    """As others extract it: a folder of pictures for each video, under the video's name."""
    files(tmp_path, *(f"rawframes/Walk/v_Walk_g0{g}_c01/img_0000{i}.jpg" for g in (1, 2) for i in (1, 2)))
    (tmp_path / "classInd.txt").write_text("1 Walk\n")
    (tmp_path / "trainlist01.txt").write_text("Walk/v_Walk_g01_c01.avi 1\n")
    (tmp_path / "testlist01.txt").write_text("Walk/v_Walk_g02_c01.avi\n")
    found = listed(tmp_path)
    assert told(found, "split") == {"v_Walk_g01_c01": ("train",), "v_Walk_g02_c01": ("test",)}
    assert found.rejected == {}


def test_hmdb51(tmp_path):
    """What the name says before the class is the film that the clip was cut from."""
    names = [
        "Some_Film_wave_u_cm_np1_fr_med_0.avi",
        "Some_Film_wave_u_cm_np1_fr_med_1.avi",
        "Other_sit_f_nm_np1_ba_goo_0.avi",
    ]
    files(tmp_path, f"wave/{names[0]}", f"wave/{names[1]}", f"sit/{names[2]}")
    splits = tmp_path / "testTrainMulti_7030_splits"
    splits.mkdir()
    for number, kinds in ((1, (1, 0)), (2, (2, 1))):
        (splits / f"wave_test_split{number}.txt").write_text(f"{names[0]} {kinds[0]} \n{names[1]} {kinds[1]} \n")
        (splits / f"sit_test_split{number}.txt").write_text(f"{names[2]} 2 \n")
    found = listed(tmp_path)
    assert (found.layout, found.classes) == ("hmdb51", ["sit", "wave"])
    assert told(found, "label", "group", "split") == {
        names[0]: ("wave", "Some_Film", "train"),
        names[1]: ("wave", "Some_Film", "unused"),
        names[2]: ("sit", "Other", "test"),
    }
    assert told(listed(tmp_path, split=2), "split")[names[0]] == ("test",)
    with pytest.raises(UserError, match="no list CLASS_test_split3"):
        listed(tmp_path, split=3)


def test_kinetics(tmp_path):
    """Clips that were trimmed, a video that wasn't, one that is gone from the web, and one that nobody listed."""
    header = "label,youtube_id,time_start,time_end,split,is_cc\n"
    files(
        tmp_path,
        "train/zumba/--abc_-1234_000010_000020.mp4",
        "train/zumba/--abc_-1234_000031_000041.mp4",
        "whole/def.webm",
        "val/x.mp4",
    )
    (tmp_path / "train.csv").write_text(
        header + 'zumba,--abc_-1234,10,20,train,0\nzumba,--abc_-1234,31,41,train,0\n"yoga, hot",gone,0,10,train,0\n'
    )
    (tmp_path / "validate.csv").write_text(header + "yoga,def,83.5,93.5,validate,0\n")
    found = listed(tmp_path)
    assert (found.layout, found.classes) == ("kinetics", ["yoga", "zumba"])
    assert told(found, "label", "group", "split", "start_s", "end_s") == {
        "--abc_-1234_000010_000020.mp4": ("zumba", "--abc_-1234", "train", None, None),
        "--abc_-1234_000031_000041.mp4": ("zumba", "--abc_-1234", "train", None, None),
        "def.webm": ("yoga", "def", "validation", 83.5, 93.5),
    }
    assert found.rejected == {
        "gone_000000_000010": "missing: it is in train.csv, and there is no such file",
        "val/x.mp4": "in none of the lists",
    }
    (tmp_path / "train.csv").write_text(header + "zumba,a,later,20,train,0\n")
    with pytest.raises(UserError, match=r"train\.csv: a: time_start"):
        listed(tmp_path)


def test_a_folder_a_class(tmp_path):
    files(
        tmp_path,
        "fight/v_fight_g01_a.mp4",
        "calm/x.mp4",
        "calm/b/y.MKV",
        "z.mp4",
        "LICENSE",
        "calm/notes.txt",
        "calm/.z.mp4",
    )
    files(tmp_path, "calm/half.mp4.part", "calm/clip/0001.png")
    found = listed(tmp_path)
    assert (found.layout, found.classes) == ("folders", ["calm", "fight"])
    assert told(found, "label", "group", "split") == {
        "v_fight_g01_a.mp4": ("fight", "g01", None),
        "x.mp4": ("calm", "x", None),
        "y.MKV": ("calm", "y", None),
        "clip": ("calm", "clip", None),
    }
    assert found.rejected == {"z.mp4": "in no class's folder"}
    assert [video.path for video in found.videos] == sorted(video.path for video in found.videos)


def test_folders_of_splits(tmp_path):
    files(tmp_path, "train/a/1.mp4", "val/a/2.mp4", "test/b/3.mp4")
    found = listed(tmp_path)
    assert found.classes == ["a", "b"]
    assert told(found, "label", "split") == {
        "1.mp4": ("a", "train"),
        "2.mp4": ("a", "validation"),
        "3.mp4": ("b", "test"),
    }


def test_groups_by_a_pattern(tmp_path):
    files(tmp_path, "a/scene7-1.mp4", "a/scene7-2.mp4", "b/scene12-1.mp4")
    found = told(listed(tmp_path, group=r"(scene\d+)"), "group")
    assert set(found.values()) == {("scene7",), ("scene12",)}
    with pytest.raises(UserError, match=r"ingest_video\.group: .* isn't in"):
        listed(tmp_path, group=r"(take\d+)")


def test_no_videos(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        listed(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no video in it"):
        listed(files(tmp_path, "readme.txt"))


def test_lists_that_are_none(tmp_path):
    """One line that names the list, whatever is in it; a byte order mark is none of its text."""
    files(tmp_path, "Walk/v_Walk_g01_c01.avi")
    for name in ("trainlist01.txt", "testlist01.txt"):
        (tmp_path / name).write_text("Walk/v_Walk_g01_c01.avi\n")
    for content in (b"1 L\xe4uft\n", b"Walk\n", b"Walk 1\n", b"1 Run\n", b"1" * 5000 + b" Walk\n", b""):
        (tmp_path / "classInd.txt").write_bytes(content)
        with pytest.raises(UserError, match=r"classInd\.txt"):
            listed(tmp_path)
    (tmp_path / "classInd.txt").write_bytes(b"\xef\xbb\xbf1 Walk\n")
    assert listed(tmp_path).classes == ["Walk"]
    (tmp_path / "testlist01.txt").write_text(".\n")
    with pytest.raises(UserError, match=r"classInd\.txt"):
        listed(tmp_path)


def test_tables_that_are_none(tmp_path):
    files(tmp_path, "abc.mp4")
    head = b"\xef\xbb\xbflabel,youtube_id,time_start,time_end\n"
    for content in (b"\xff,abc,1,2\n", b"a,abc,x,2\n", b"a," + b"b" * 200_000 + b",1,2\n"):
        (tmp_path / "train.csv").write_bytes(head + content)
        with pytest.raises(UserError, match=r"train\.csv"):
            listed(tmp_path)
    (tmp_path / "train.csv").write_bytes(head + b"a,abc,1,2\na,abc,5,2\na,abc,nan,2\n")
    found = listed(tmp_path)
    assert told(found, "start_s", "end_s") == {"abc.mp4": (1.0, 2.0)}
    assert set(found.rejected.values()) == {"5 to 2 s is no part of a video", "nan to 2 s is no part of a video"}


def test_links_in_a_circle(tmp_path):
    files(tmp_path, "a/1.mp4", "b/2.mp4")
    for name in ("a/up", "a/again", "b/up"):
        (tmp_path / name).symlink_to("..")
    assert told(listed(tmp_path), "label") == {"1.mp4": ("a",), "2.mp4": ("b",)}


def test_links_to_folders_of_links(tmp_path):
    files(tmp_path, *(f"d{i}/{i}.mp4" for i in range(30)))
    for i in range(29):
        for name in "ab":
            (tmp_path / f"d{i}" / name).symlink_to(f"../d{i + 1}")
    found = listed(tmp_path)
    assert len(found.videos) == 30 + 2 * 29  # each where it is, and by each link to its folder
    assert found.rejected["d0/a/a"] == "a link to a folder, by another such link"


def drawn(table: pd.DataFrame, **changes) -> pd.DataFrame:
    arguments = {"validation_share": 0.2, "test_share": 0.2, "seed": 1} | changes
    return table.assign(split=draw_splits(table, **arguments))


@given(
    rows=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3)), min_size=1, max_size=60),
    seed=st.integers(0, 5),
    share=st.floats(0.05, 0.45),
)
def test_drawn_splits_part_no_group(rows, seed, share):
    table = pd.DataFrame({"group": [f"g{g}" for g, _ in rows], "label": [label for _, label in rows], "split": None})
    first = drawn(table, seed=seed, test_share=share, validation_share=share)
    assert parted_groups(first) == []
    assert (first["split"] == "train").any()
    assert first["split"].equals(drawn(table, seed=seed, test_share=share, validation_share=share)["split"])


def test_drawn_splits_have_their_share_of_each_class():
    table = pd.DataFrame({"group": [f"{i}" for i in range(100)], "label": [i % 2 for i in range(100)], "split": None})
    counts = drawn(table).groupby(["split", "label"]).size()
    wanted = {"test": 10, "train": 30, "validation": 10}
    assert counts.to_dict() == {(split, label): count for split, count in wanted.items() for label in (0, 1)}
    other = drawn(table, seed=2)
    assert not other["split"].equals(drawn(table)["split"])


def test_official_lists_stay():
    """Only what they leave open is drawn, and from what is for training."""
    split = ["train"] * 20 + ["test"] * 5 + ["unused"] * 2
    table = pd.DataFrame({"group": [f"{i}" for i in range(27)], "label": 0, "split": split})
    found = drawn(table)["split"]
    assert found[20:].tolist() == split[20:]
    assert found[:20].value_counts().to_dict() == {"train": 16, "validation": 4}
    # As Kinetics: the list that is left for judging is the test.
    of_two = table[:25].replace({"split": {"test": "validation"}})
    assert drawn(of_two)["split"][20:].tolist() == ["test"] * 5
    of_three = table.assign(split=["validation"] * 3 + split[3:])
    assert drawn(of_three)["split"].tolist() == of_three["split"].tolist()


def test_lists_that_part_a_group_are_found_out():
    table = pd.DataFrame({"group": list("aabbccddee"), "label": 0, "split": ["train", "test"] + ["train"] * 8})
    found = drawn(table)
    assert parted_groups(found) == ["a"]
    assert found["split"][:2].tolist() == ["train", "test"]  # as listed: others' numbers are of these lists
