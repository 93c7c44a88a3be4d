"""The live store: what was appended, in time order and once, whoever appends and however they end."""

import os
import resource
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path

import icechunk
import numpy as np
import pytest
import zarr
from archive import moving_cells

from pipelines.common.errors import UserError
from pipelines.common.rights import Rights
from pipelines.operation.live_store import LiveStore
from pipelines.radar.grid import Grid
from pipelines.radar.store import frames_of

FRAMES = moving_cells("2024-06-01T12:00:00", 6)


@pytest.fixture
def live(tmp_path: Path) -> LiveStore:
    return LiveStore(tmp_path / "live", Rights("CC0-1.0"))


def assert_holds(live: LiveStore, frames: list, snapshot: str | None = None) -> None:
    """Assert that the store is `frames`, in this order, to the packing's half step."""
    stored = frames_of(live.open(snapshot))
    assert [(f.time, f.source, f.sha256) for f in stored] == [(f.time, f.source, f.sha256) for f in frames]
    for got, wanted in zip(stored, frames, strict=True):
        np.testing.assert_allclose(got.rain_rate, wanted.rain_rate, rtol=0, atol=0.00501)
        assert (got.time_is, got.interval_s, got.z_r) == (wanted.time_is, wanted.interval_s, wanted.z_r)
        assert wanted.grid.difference(got.grid) is None


def test_any_order_gives_the_same_frames_in_time_order(live: LiveStore, tmp_path: Path) -> None:
    for number, order in enumerate(list(permutations(range(4)))[::5]):
        store = LiveStore(tmp_path / str(number), Rights("CC0-1.0"))
        for i in order:
            assert store.append([FRAMES[i]]).new == [True]
        assert_holds(store, FRAMES[:4])
        assert store.open().attrs["mlcast_created_on"] == str(FRAMES[3].time)
    # several late ones between several stored ones, and newer ones with them, in one transaction
    live.append([FRAMES[i] for i in (0, 2, 4)])
    live.append([FRAMES[i] for i in (5, 3, 1)])
    assert_holds(live, FRAMES)


def test_the_folder_may_be_a_link_to_another_disk(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "live").symlink_to("disk")
    store = LiveStore(tmp_path / "live", Rights("CC0-1.0"))
    assert store.append(FRAMES[:1]).new == [True]
    assert (tmp_path / "live").is_symlink() and any((tmp_path / "disk").iterdir())
    assert_holds(store, FRAMES[:1])


def test_accumulations_keep_their_bounds_when_they_come_late(live: LiveStore) -> None:
    frames = [replace(f, time_is="end", interval_s=300, z_r=None) for f in FRAMES[:3]]
    live.append([frames[0], frames[2]])
    live.append([frames[1]])
    assert_holds(live, frames)
    bounds = live.open()["time_bounds"].to_numpy()
    assert (bounds[:, 1] == np.array([f.time for f in frames])).all()
    assert (bounds[:, 1] - bounds[:, 0] == np.timedelta64(300, "s")).all()


def test_a_repeated_frame_is_stored_once_and_makes_no_snapshot(live: LiveStore) -> None:
    first = live.append([*FRAMES[:3], replace(FRAMES[1])])
    assert (first.new, first.refusals) == ([True, True, True, False], [None] * 4)
    again = live.append([FRAMES[2], FRAMES[0]])
    assert (again.new, again.refusals, again.snapshot) == ([False, False], [None, None], first.snapshot)
    # the same pixels in a file of other bytes repeat it too
    assert live.append([replace(FRAMES[1], sha256="f" * 64)]).refusals == [None]
    assert_holds(live, FRAMES[:3])


def test_a_snapshot_names_a_state_for_good(live: LiveStore) -> None:
    snapshots = [live.append(FRAMES[:2]).snapshot, live.append(FRAMES[2:4]).snapshot, live.append(FRAMES[4:]).snapshot]
    assert len(set(snapshots)) == 3
    for snapshot, count in zip(snapshots, (2, 4, 6), strict=True):
        assert_holds(live, FRAMES[:count], snapshot)
        assert live.open(snapshot).attrs["snapshot"] == snapshot
    opened = live.open(snapshots[0])
    assert live.open().attrs["snapshot"] == snapshots[2]
    assert opened.sizes["time"] == 2
    with pytest.raises(UserError, match="live"):
        live.open("X" * 20)


def test_what_contradicts_the_store_is_refused_and_the_rest_goes_in(live: LiveStore) -> None:
    live.append(FRAMES[:2])
    wetter = replace(FRAMES[1], rain_rate=FRAMES[1].rain_rate + np.float32(1), sha256="0" * 64, source="other.h5")
    shifted = replace(FRAMES[2], grid=Grid(FRAMES[2].grid.crs, FRAMES[2].grid.x + 500.0, FRAMES[2].grid.y))
    other_z_r = replace(FRAMES[3], z_r=(256.0, 1.42))
    appended = live.append([wetter, shifted, other_z_r, FRAMES[4]])
    assert appended.new == [False, False, False, True]
    assert "conflict" in appended.refusals[0] and FRAMES[1].source in appended.refusals[0]
    assert "pixels elsewhere" in appended.refusals[1]
    assert "256" in appended.refusals[2]
    assert appended.refusals[3] is None
    assert_holds(live, [FRAMES[0], FRAMES[1], FRAMES[4]])
    # two new ones that contradict each other: the first in the order given is stored
    late = replace(FRAMES[2], rain_rate=FRAMES[2].rain_rate * np.float32(2), sha256="1" * 64)
    appended = live.append([FRAMES[2], late])
    assert appended.refusals[0] is None and "conflict" in appended.refusals[1]


def test_a_new_store_is_of_the_most_common_grid_whichever_comes_first(live: LiveStore) -> None:
    shifted = replace(FRAMES[0], grid=Grid(FRAMES[0].grid.crs, FRAMES[0].grid.x + 500.0, FRAMES[0].grid.y))
    appended = live.append([FRAMES[2], shifted, FRAMES[1]])
    assert appended.new == [True, False, True] and "pixels elsewhere" in appended.refusals[1]
    assert_holds(live, FRAMES[1:3])


def test_an_empty_or_foreign_folder_is_told_of_in_words(live: LiveStore, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing has been appended"):
        live.open()
    live.append([])
    with pytest.raises(UserError, match="nothing has been appended"):
        live.open()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "file").write_text("x")
    with pytest.raises(UserError, match="foreign: not an Icechunk repository"):
        LiveStore(tmp_path / "foreign", Rights("CC0-1.0")).open()


def test_an_append_writes_its_own_frames_and_not_the_others_again(live: LiveStore) -> None:
    live.append(FRAMES[:5])
    before = set((live.path / "chunks").iterdir())
    live.append(FRAMES[5:])
    # one chunk of pixels, and at most one each of times, names and hashes
    assert len(set((live.path / "chunks").iterdir()) - before) <= 4


@pytest.mark.parametrize(("rain", "limit", "at"), [(1.0, 5000, "set"), (0.0, 2500, "commit")])
def test_a_failed_append_leaves_the_store_as_it_was(live: LiveStore, rain: float, limit: int, at: str) -> None:
    """No file may be larger than ``limit`` bytes, as if the disk were full: pixels' chunks are, or what names them."""
    frames = [replace(frame, rain_rate=rain * frame.rain_rate) for frame in FRAMES]
    snapshot = live.append(frames[:3]).snapshot
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, usual[1]))
    try:
        with pytest.raises(icechunk.IcechunkError, match="File too large") as error:
            live.append(frames[3:])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert any(entry.name == at for entry in error.traceback)
    assert live.open().attrs["snapshot"] == snapshot
    assert sum(live.append(frames[3:]).new) == 3
    assert_holds(live, frames)


WRITER = textwrap.dedent("""
    import sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[1])
    from archive import moving_cells
    from pipelines.common.rights import Rights
    from pipelines.operation.live_store import LiveStore
    live = LiveStore(Path(sys.argv[2]), Rights("CC0-1.0"))
    frames = moving_cells("2024-06-01T12:00:00", 40)
    print("ready", flush=True)
    sys.stdin.readline()
    for frame in frames[int(sys.argv[3])::2]:
        live.append([frame])
""")
TESTS = str(Path(__file__).resolve().parents[2])


def test_two_processes_that_append_at_once_lose_nothing(live: LiveStore) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, TESTS, str(live.path), str(i)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    for writer in writers:
        writer.stdout.readline()
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    assert [writer.wait(300) for writer in writers] == [0, 0]
    assert_holds(live, moving_cells("2024-06-01T12:00:00", 40))


DYING = textwrap.dedent("""
    import sys, time
    from pathlib import Path
    import icechunk
    sys.path.insert(0, sys.argv[1])
    from archive import moving_cells
    from pipelines.common.rights import Rights
    from pipelines.operation.live_store import LiveStore

    def hang(*_):
        print("locked", flush=True)
        time.sleep(3600)

    icechunk.Session.commit = hang
    LiveStore(Path(sys.argv[2]), Rights("CC0-1.0")).append(moving_cells("2024-06-01T12:00:00", 6)[2:])
""")


def test_a_writer_that_is_killed_leaves_nothing_locked_and_nothing_half_written(live: LiveStore) -> None:
    live.append(FRAMES[:2])
    with subprocess.Popen(
        [sys.executable, "-c", DYING, TESTS, str(live.path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout.readline() == "locked\n"
        os.kill(writer.pid, signal.SIGKILL)
    assert_holds(live, FRAMES[:2])
    assert sum(live.append(FRAMES[2:]).new) == 4
    assert_holds(live, FRAMES)


def test_pixels_are_moved_as_they_are_packed(live: LiveStore) -> None:
    live.append([FRAMES[0], *FRAMES[2:]])
    repository = icechunk.Repository.open(icechunk.local_filesystem_storage(str(live.path)))

    def packed() -> np.ndarray:
        return zarr.open_group(repository.readonly_session("main").store, mode="r")["rainfall_flux"][:]

    before = packed()
    live.append([FRAMES[1]])
    np.testing.assert_array_equal(packed()[[0, 2, 3, 4, 5]], before)


def test_what_expires_is_gone_from_the_disk_and_the_rest_stays_as_it_is(live: LiveStore) -> None:
    states = [live.append([frame]).snapshot for frame in FRAMES]
    chunks = set((live.path / "chunks").iterdir())
    long_ago, soon = datetime(2000, 1, 1, tzinfo=UTC), datetime.now(UTC) + timedelta(days=1)
    # the newest stays, whatever is asked for; states that are younger can be opened
    assert live.expire([FRAMES[i].time for i in (0, 2, 5)], long_ago) == 2
    assert_holds(live, [FRAMES[i] for i in (1, 3, 4, 5)])
    assert_holds(live, FRAMES, states[-1])
    assert chunks < set((live.path / "chunks").iterdir())
    opened = live.open()
    assert live.expire([FRAMES[0].time], soon) == 0
    assert_holds(live, [FRAMES[i] for i in (1, 3, 4, 5)])
    np.testing.assert_allclose(opened["rainfall_flux"][0], FRAMES[1].rain_rate, rtol=0, atol=0.00501)
    for state in states:
        with pytest.raises(UserError, match="live"):
            live.open(state)
    # as after six appends, but for the pixels of two frames
    assert len(list((live.path / "chunks").iterdir())) <= len(chunks) - 2
    # a frame of an expired time can come again, as a late one does, and newer ones do
    assert live.append([FRAMES[2]]).new == [True]
    assert_holds(live, FRAMES[1:])


def test_accumulations_expire_with_their_bounds(live: LiveStore) -> None:
    frames = [replace(f, time_is="end", interval_s=300, z_r=None) for f in FRAMES]
    live.append(frames)
    assert live.expire([frame.time for frame in frames[:4]], datetime.now(UTC)) == 4
    assert_holds(live, frames[4:])
    assert (live.open()["time_bounds"].to_numpy()[:, 1] == np.array([f.time for f in frames[4:]])).all()


def test_nothing_expires_where_nothing_is(live: LiveStore) -> None:
    with pytest.raises(UserError, match="nothing has been appended"):
        live.expire([], datetime.now(UTC))
