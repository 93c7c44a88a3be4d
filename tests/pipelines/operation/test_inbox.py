"""The inbox: what is whole goes in, what isn't waits, what can't goes into quarantine with its reason."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Timer

import numpy as np
import pytest
from archive import moving_cells
from inbox_file import write_file

import pipelines.operation.inbox
from pipelines.common.errors import UserError
from pipelines.common.rights import Rights
from pipelines.common.workers import Decoders
from pipelines.operation.inbox import Inbox
from pipelines.operation.live_store import LiveStore
from pipelines.params.radar import Regrid
from pipelines.params.read import read_params
from pipelines.radar.grid import Grid

FRAMES = moving_cells("2024-06-01T12:00:00", 5)
NOW = np.datetime64("2024-06-01T12:20:00")
INGEST = read_params(Path(__file__).parents[3] / "params.yaml").ingest_radar


@pytest.fixture
def live(tmp_path: Path) -> LiveStore:
    return LiveStore(tmp_path / "live", Rights("CC0-1.0"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "inbox"


def cycle(folder: Path, live: LiveStore, now: np.datetime64 = NOW) -> tuple[int, list[str]]:
    inbox = Inbox(folder)
    return inbox.store(inbox.find_whole(), live, INGEST, now), inbox.notes


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def times(live: LiveStore) -> list[np.datetime64]:
    return list(live.open()["time"].to_numpy().astype("datetime64[s]"))


def test_frames_go_in_and_their_files_to_done_as_they_are(folder: Path, live: LiveStore) -> None:
    files = [write_file(folder, frame) for frame in FRAMES]
    content = {file.name: file.read_bytes() for file in files}
    assert cycle(folder, live) == (5, [])
    assert times(live) == [frame.time for frame in FRAMES]
    assert names(folder) == []
    done = folder.with_name("inbox-done")
    assert {name: (done / name).read_bytes() for name in names(done)} == content


def test_an_empty_inbox_and_one_that_is_not_there(folder: Path, live: LiveStore) -> None:
    with pytest.raises(UserError, match="inbox: no such folder"):
        cycle(folder, live)
    folder.mkdir()
    assert cycle(folder, live) == (0, [f"{folder}: no file in it"])


def test_duplicate_other_grid_future_and_conflict_are_told_of_and_good_frames_go_in(
    folder: Path, live: LiveStore
) -> None:
    write_file(folder, FRAMES[0])
    cycle(folder, live)
    grid = FRAMES[2].grid
    smaller = replace(FRAMES[2], rain_rate=FRAMES[2].rain_rate[:32], grid=Grid(grid.crs, grid.x, grid.y[:32]))
    write_file(folder, FRAMES[0], name="again.h5")
    write_file(folder, replace(FRAMES[0], rain_rate=FRAMES[0].rain_rate * 2), name="other.h5")
    write_file(folder, smaller, name="smaller.h5")
    write_file(folder, replace(FRAMES[3], time=NOW + np.timedelta64(5, "m")), name="future.h5")
    write_file(folder, FRAMES[1])
    stored, notes = cycle(folder, live)
    assert stored == 1
    assert times(live) == [FRAMES[0].time, FRAMES[1].time]
    said = dict(note.split(": ", 1) for note in notes)
    assert set(said) == {"again.h5", "other.h5", "smaller.h5", "future.h5"}
    assert said["again.h5"].startswith("repeats the frame of 2024-06-01T12:00:00")
    assert said["other.h5"].startswith("conflict")
    assert "32×64 pixels, not 64×64" in said["smaller.h5"]
    assert "future" in said["future.h5"] and "12:25" in said["future.h5"]
    assert names(folder) == []
    assert "again.h5" in names(folder.with_name("inbox-done"))
    quarantine = folder.with_name("inbox-quarantine")
    bad = ["future.h5", "other.h5", "smaller.h5"]
    assert names(quarantine) == sorted(bad + [f"{name}.reason" for name in bad])
    assert "conflict" in (quarantine / "other.h5.reason").read_text()
    # what a source's clock may be ahead of ours is no future
    write_file(folder, replace(FRAMES[4], time=NOW + np.timedelta64(60, "s")), name="ahead.h5")
    assert cycle(folder, live) == (1, [])


def test_a_file_that_grows_is_left_and_taken_when_it_is_whole(
    folder: Path, live: LiveStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines.operation.inbox, "SETTLE_S", 0.5)
    write_file(folder, FRAMES[0])
    path = write_file(folder, FRAMES[1])
    content = path.read_bytes()
    path.write_bytes(content[:1000])
    writer = Timer(0.2, lambda: path.write_bytes(content[:2000]))
    writer.start()
    assert cycle(folder, live) == (1, [f"{path.name}: still being written; left for the next cycle"])
    writer.join()
    # its writer pauses: nothing changes any more, and still it can't be read
    stored, notes = cycle(folder, live)
    assert stored == 0 and "can't be read yet" in notes[0]
    assert names(folder) == [path.name]
    path.write_bytes(content)
    assert cycle(folder, live) == (1, [])
    assert times(live) == [FRAMES[0].time, FRAMES[1].time]


def test_a_file_that_was_just_written_is_waited_for_and_taken(
    folder: Path, live: LiveStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines.operation.inbox, "SETTLE_S", 0.5)
    write_file(folder, FRAMES[0], age_s=0.0)
    start = time.monotonic()
    assert cycle(folder, live) == (1, [])
    assert time.monotonic() - start >= 0.5


def test_a_file_that_is_taken_away_during_the_wait_costs_nothing(
    folder: Path, live: LiveStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines.operation.inbox, "SETTLE_S", 0.5)
    write_file(folder, FRAMES[0], age_s=0.0)
    gone = write_file(folder, FRAMES[1])
    taker = Timer(0.2, gone.unlink)
    taker.start()
    assert cycle(folder, live) == (1, [])
    taker.join()
    assert times(live) == [FRAMES[0].time]


def test_a_name_of_any_bytes_is_told_of_in_a_line_of_text(folder: Path, live: LiveStore) -> None:
    write_file(folder, FRAMES[0])
    (folder / os.fsdecode(b"a\xff \n\xc3\xa9.h5")).write_text("nothing")
    stored, (note,) = cycle(folder, live)
    assert stored == 1 and note.startswith("a\\udcff \\né.h5: can't be read yet: ")


def test_a_file_that_stays_broken_goes_into_quarantine_with_its_reason(folder: Path, live: LiveStore) -> None:
    path = write_file(folder, FRAMES[0])
    path.write_bytes(path.read_bytes()[:1000])
    (folder / "index.html").write_text("<html>404</html>")
    for file in folder.iterdir():
        os.utime(file, (time.time() - 700,) * 2)
    stored, notes = cycle(folder, live)
    assert stored == 0 and len(notes) == 2 and all("in quarantine" in note for note in notes)
    assert names(folder) == []
    assert "web page" in (folder.with_name("inbox-quarantine") / "index.html.reason").read_text()


def test_a_broken_file_of_the_longest_name_costs_its_reason_alone(folder: Path, live: LiveStore) -> None:
    write_file(folder, FRAMES[0])
    longest = folder / f"{'a' * 252}.h5"  # 255 bytes, as many as a name may have
    longest.write_text("nothing")
    os.utime(longest, (time.time() - 700,) * 2)
    stored, notes = cycle(folder, live)
    assert stored == 1
    assert [note.removeprefix(longest.name) for note in notes][1:] == [
        ": its reason can't be written: File name too long"
    ]
    assert "in quarantine" in notes[0]
    assert names(folder.with_name("inbox-quarantine")) == [longest.name]


def test_a_cycle_killed_between_commit_and_move_loses_and_doubles_nothing(
    folder: Path, live: LiveStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for frame in FRAMES[:3]:
        write_file(folder, frame)
    with monkeypatch.context() as patch:
        patch.setattr(Inbox, "_move", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            cycle(folder, live)
    assert len(names(folder)) == 3 and len(times(live)) == 3
    stored, notes = cycle(folder, live)
    assert stored == 0 and len(notes) == 3 and all("repeats" in note for note in notes)
    assert times(live) == [frame.time for frame in FRAMES[:3]]
    assert names(folder) == [] and len(names(folder.with_name("inbox-done"))) == 3


def test_a_source_that_always_writes_the_same_name_overwrites_nothing(folder: Path, live: LiveStore) -> None:
    contents = []
    for frame in FRAMES[:3]:
        contents.append(write_file(folder, frame, name="latest.h5").read_bytes())
        assert cycle(folder, live) == (1, [])
    done = folder.with_name("inbox-done")
    assert sorted((done / name).read_bytes() for name in names(done)) == sorted(contents)


def test_a_file_replaced_while_it_is_read_stays_for_the_next_cycle(folder: Path, live: LiveStore) -> None:
    write_file(folder, FRAMES[0], name="latest.h5")
    append = live.append

    def replaced_meanwhile(frames: list) -> object:
        write_file(folder, FRAMES[1], name="latest.h5", age_s=30.0)
        return append(frames)

    live.append = replaced_meanwhile  # type: ignore[method-assign]
    stored, notes = cycle(folder, live)
    assert stored == 1 and "replaced" in notes[0] and names(folder) == ["latest.h5"]
    live.append = append  # type: ignore[method-assign]
    assert cycle(folder, live) == (1, [])
    assert times(live) == [FRAMES[0].time, FRAMES[1].time]


def test_files_that_can_not_be_moved_are_told_of_and_stored_once(folder: Path, live: LiveStore) -> None:
    folder.with_name("inbox-done").touch()  # a file where the folder should be
    path = write_file(folder, FRAMES[0])
    for stored in (1, 0):
        count, notes = cycle(folder, live)
        assert count == stored and notes[-1].startswith(f"{path.name}: can't be moved into")
    assert times(live) == [FRAMES[0].time]


def test_after_an_outage_frames_go_in_by_batches(
    folder: Path, live: LiveStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines.operation.inbox, "BATCH_BYTES", 2 * FRAMES[0].rain_rate.nbytes)
    for frame in FRAMES:
        write_file(folder, frame)
    assert cycle(folder, live) == (5, [])
    assert times(live) == [frame.time for frame in FRAMES]


@pytest.mark.parametrize("count", [100, pytest.param(5000, marks=pytest.mark.full)])
def test_thousands_of_files_at_once_go_in_each_once(folder: Path, live: LiveStore, count: int) -> None:
    (first,) = moving_cells("2024-06-01T00:00:00", 1, shape=(16, 16))
    step = np.timedelta64(5, "m")
    wanted = [first.time + number * step for number in range(count)]
    for time_of, number in zip(wanted, range(count), strict=True):
        write_file(folder, replace(first, time=time_of, rain_rate=np.full((16, 16), 1 + number % 7, np.float32)))
    assert cycle(folder, live, wanted[-1]) == (count, [])
    assert times(live) == wanted and names(folder) == []
    assert len(names(folder.with_name("inbox-done"))) == count
    newest = live.open()["rainfall_flux"][-1].to_numpy()
    assert newest == pytest.approx(1 + (count - 1) % 7, rel=0.04)  # half a dBZ


def test_no_link_is_followed_or_moved(folder: Path, live: LiveStore, tmp_path: Path) -> None:
    """Whoever can write into an inbox would have any file of the machine read, and laid out in inbox-done."""
    secret = write_file(tmp_path / "elsewhere", FRAMES[1], name="secret.h5")
    good = write_file(folder, FRAMES[0])
    (folder / "out.h5").symlink_to(secret)
    (folder / "up.h5").symlink_to("../elsewhere/secret.h5")
    (folder / "year").symlink_to(secret.parent)
    (folder / "within.h5").symlink_to(good.name)
    (folder / "nowhere.h5").symlink_to("gone.h5")
    (folder / "circle.h5").symlink_to("circle.h5")
    stored, notes = cycle(folder, live)
    assert stored == 1
    assert times(live) == [FRAMES[0].time]
    targets = {
        "circle.h5": "circle.h5",
        "nowhere.h5": "gone.h5",
        "out.h5": secret,
        "up.h5": "../elsewhere/secret.h5",
        "within.h5": good.name,
        "year": secret.parent,
    }
    reasons = {name: f"a link to {target}; none is followed" for name, target in targets.items()}
    assert sorted(notes) == [f"{name}: {reason}; removed" for name, reason in reasons.items()]
    assert names(folder) == []
    assert names(tmp_path / "inbox-done") == [good.name]
    quarantine = tmp_path / "inbox-quarantine"
    assert {path.name: path.read_text() for path in quarantine.iterdir()} == {
        f"{name}.reason": f"{reason}\n" for name, reason in reasons.items()
    }
    assert secret.exists()
    assert cycle(folder, live)[0] == 0


def test_a_file_that_is_replaced_by_a_link_is_not_followed(folder: Path, live: LiveStore, tmp_path: Path) -> None:
    secret = write_file(tmp_path / "elsewhere", FRAMES[1], name="secret.h5")
    path = write_file(folder, FRAMES[0])
    inbox = Inbox(folder)
    found = inbox.find_whole()
    path.unlink()
    path.symlink_to(secret)
    assert inbox.store(found, live, INGEST, NOW) == 0
    assert names(folder) == names(tmp_path / "inbox-done") == []


def test_what_takes_too_much_goes_into_quarantine(folder: Path, live: LiveStore, tmp_path: Path) -> None:
    write_file(folder, FRAMES[0])
    large = write_file(folder, FRAMES[1], name="large.h5")
    with large.open("r+b") as stream:
        stream.truncate(3 << 30)
    os.utime(large, (time.time() - 3600,) * 2)
    assert cycle(folder, live)[0] == 1
    (reason,) = (tmp_path / "inbox-quarantine").glob("*.reason")
    assert reason.read_text() == "too large: 3072 MB, and max_file_mb is 1024\n"


def test_a_grid_that_cannot_be_brought_onto_the_other_goes_into_quarantine(folder: Path, live: LiveStore) -> None:
    write_file(folder, FRAMES[0])
    far = FRAMES[1].grid
    far = Grid(far.crs, 1e-3 * far.x, 1e-3 * far.y)
    broken = write_file(folder, replace(FRAMES[1], grid=far), age_s=3600)
    params = INGEST.model_copy(update={"regrid": Regrid(crs=None, resolution=2000.0, min_valid=0.5)})
    inbox = Inbox(folder)
    assert inbox.store(inbox.find_whole(), live, params, NOW) == 1
    assert inbox.notes == [f"{broken.name}: ingest_radar.regrid.resolution: 2000 leaves 1×1 pixels; in quarantine"]


def test_what_is_no_file_is_told_of_and_good_frames_go_in(
    folder: Path, live: LiveStore, nest: Callable[[Path], str], tmp_path: Path
) -> None:
    write_file(folder, FRAMES[0])
    os.mkfifo(folder / "pipe.h5")
    nest(folder)
    assert cycle(folder, live) == (1, ["d: File name too long; left where it is", "pipe.h5: a pipe, no file; removed"])
    assert names(folder) == ["d"]
    assert {path.name: path.read_text() for path in (tmp_path / "inbox-quarantine").iterdir()} == {
        "pipe.h5.reason": "a pipe, no file\n"
    }


def test_files_on_which_a_decoder_hangs_are_tried_once_and_few_in_a_cycle(
    folder: Path, live: LiveStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    frames = [write_file(folder, frame) for frame in FRAMES]
    hasty = Decoders(1, limit_s=0.01)
    hasty.call(len, ("",))
    monkeypatch.setattr("pipelines.common.workers.decoders", lambda limits: hasty)
    slow = "decoding it took longer than 0.01 s"
    expected = [f"{path.name}: {slow}; in quarantine" for path in frames[:3]]
    assert cycle(folder, live) == (0, [*expected, "3 files took too long; the rest is left for the next cycle"])
    monkeypatch.undo()
    assert cycle(folder, live) == (2, [])
    assert names(tmp_path / "inbox-done") == [path.name for path in frames[3:]]
