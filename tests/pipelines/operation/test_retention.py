"""From the live store into the archive: at no moment, and by no kill, is a frame in neither."""

import json
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from archive import moving_cells
from issued_files import write_issued

from pipelines.operation.archive import day_file, how_it_differs
from pipelines.operation.live_store import LiveStore
from pipelines.operation.retention import archive_days, expire_days

FRAMES = [frame for day in (1, 2, 3, 4) for frame in moving_cells(f"2024-06-0{day}T12:00:00", 3, shape=(32, 32))]
NOW = np.datetime64("2024-06-05T12:00:00")
DAYS = [np.datetime64(f"2024-06-0{day}") for day in (1, 2, 3, 4)]
TESTS = str(Path(__file__).resolve().parents[2])


@pytest.fixture
def live(tmp_path: Path) -> LiveStore:
    live = LiveStore(tmp_path / "live", "CC0-1.0")
    live.append(FRAMES)
    return live


def expire(live: LiveStore, tmp_path: Path, keep_days: int = 1) -> tuple[int, list[str]]:
    at = {"now": NOW, "wall_clock": datetime.now(UTC) + timedelta(days=keep_days)}
    return expire_days(live, tmp_path / "archive", "here", tmp_path / "out", keep_days=keep_days, **at)


def days_of(live: LiveStore) -> list[int]:
    return [int(str(day)[-2:]) for day in np.unique(live.open()["time"].to_numpy().astype("datetime64[D]"))]


def test_old_days_leave_the_live_store_after_they_are_archived(live: LiveStore, tmp_path: Path) -> None:
    failures = [f"{day_file(tmp_path / 'archive', 'here', day)}: the day stays in the live store" for day in DAYS[:2]]
    assert expire(live, tmp_path) == (0, [f"{words}: there is no such file" for words in failures])
    before = live.open().load()
    size = sum(path.stat().st_size for path in live.path.rglob("*") if path.is_file())
    written, wrong = archive_days(live, tmp_path / "archive", "here", NOW)
    assert not wrong and written == {day_file(tmp_path / "archive", "here", day): 3 for day in DAYS}
    assert archive_days(live, tmp_path / "archive", "here", NOW) == ({}, [])
    assert expire(live, tmp_path) == (6, [])
    assert days_of(live) == [3, 4] and expire(live, tmp_path) == (0, [])
    for number, day in enumerate(DAYS):
        of_day = before.isel(time=slice(3 * number, 3 * number + 3))
        assert how_it_differs(day_file(tmp_path / "archive", "here", day), of_day) is None
    np.testing.assert_array_equal(live.open()["rainfall_flux"], before["rainfall_flux"][6:])
    assert sum(path.stat().st_size for path in live.path.rglob("*") if path.is_file()) < size


def test_a_day_whose_file_is_not_right_stays(live: LiveStore, tmp_path: Path) -> None:
    archive_days(live, tmp_path / "archive", "here", NOW)
    path = day_file(tmp_path / "archive", "here", DAYS[0])
    path.write_bytes(path.read_bytes()[:4000])
    expired, failures = expire(live, tmp_path)
    assert expired == 3 and len(failures) == 1 and failures[0].startswith(f"{path}: the day stays in the live store: ")
    assert days_of(live) == [1, 3, 4]


def test_what_a_forecast_needs_that_is_not_verified_stays(live: LiveStore, tmp_path: Path) -> None:
    archive_days(live, tmp_path / "archive", "here", NOW)
    issued = write_issued(tmp_path / "out", FRAMES[6:9], FRAMES[8].rain_rate[None])  # of 3 June
    assert expire(live, tmp_path) == (3, [])
    assert days_of(live) == [2, 3, 4]
    issued.unlink()
    issued.parent.rmdir()
    assert expire(live, tmp_path) == (3, []) and days_of(live) == [3, 4]


# A process of its own, which forks before icechunk has threads: each child is killed at its n-th call that opens,
# renames or removes something of the domain's, another completes its work, and a third says what is where.
KILLED = textwrap.dedent("""
    import json, os, shutil, signal, sys
    from datetime import UTC, datetime, timedelta
    from pathlib import Path
    import netCDF4
    import numpy as np
    import xarray as xr
    sys.path.insert(0, sys.argv[1])
    from archive import moving_cells
    from pipelines.operation.archive import day_file, of_day
    from pipelines.operation.live_store import LiveStore
    from pipelines.operation.retention import archive_days, expire_days

    root, now = Path(sys.argv[2]), np.datetime64("2024-06-05T12:00:00")

    def work(folder):
        live = LiveStore(folder / "live", "CC0-1.0")
        archive_days(live, folder / "archive", "here", now)
        later = datetime.now(UTC) + timedelta(days=1)
        expire_days(live, folder / "archive", "here", folder / "out", keep_days=1, now=now, wall_clock=later)

    def kill_at(point, folder):
        seen = 0
        def look(event, arguments):
            nonlocal seen
            if event in ("open", "os.rename", "os.remove", "os.listdir") and str(folder) in str(arguments[0]):
                seen += 1
                if seen == point:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(look)

    def look(folder):
        held = {"live": [], "archive": []}
        stored = LiveStore(folder / "live", "CC0-1.0").open()
        held["live"] = dict(zip(map(str, stored["time"].to_numpy()), map(str, stored["source_sha256"].to_numpy())))
        held["sums"] = stored["rainfall_flux"].sum(("y", "x")).to_numpy().tolist()
        held["archive"] = {}
        for path in sorted((folder / "archive").rglob("*.nc")):
            if not path.name.startswith("."):
                with xr.open_dataset(path) as file:
                    hashes = map(str, file["source_sha256"].to_numpy())
                    held["archive"] |= dict(zip(map(str, file["time"].to_numpy()), hashes))
        print(json.dumps(held), flush=True)

    def child(do, *arguments):
        number = os.fork()
        if number == 0:
            do(*arguments)
            os._exit(0)
        return os.waitpid(number, 0)[1]

    def killed(point, folder):
        kill_at(point, folder)
        work(folder)

    def killed_in_expire(when, folder):
        import icechunk
        def die(*arguments, **keywords):
            os.kill(os.getpid(), signal.SIGKILL)
        if when == "before":
            LiveStore.expire = die
        elif when == "commit":
            icechunk.Session.commit = die
        else:
            icechunk.Repository.expire_snapshots = die
        work(folder)

    for name in sys.argv[3].split():
        folder = root / name
        shutil.copytree(root / "start", folder)
        do, point = (killed, int(name)) if name.isdigit() else (killed_in_expire, name)
        print(json.dumps({"point": name, "status": child(do, point, folder)}), flush=True)
        child(look, folder)
        child(work, folder)
        child(look, folder)
""")


def kill_at(points: list[str], tmp_path: Path) -> None:
    (tmp_path / "start").mkdir()
    (tmp_path / "live").rename(tmp_path / "start" / "live")
    command = [sys.executable, "-c", KILLED, TESTS, str(tmp_path), " ".join(points)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=500)
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["point"] for one in said[::3]] == points
    everything = {str(frame.time.astype("datetime64[ns]")): frame.sha256 for frame in FRAMES}
    sums = [float(np.nansum(np.rint(frame.rain_rate * 100) / 100)) for frame in FRAMES]
    for of_point, killed, completed in zip(said[::3], said[1::3], said[2::3], strict=True):
        assert of_point["status"] == 9, f"not killed at {of_point['point']}"
        assert killed["live"] | killed["archive"] == everything, f"lost at {of_point['point']}"
        assert completed["archive"] == everything
        assert list(completed["live"].items()) == list(everything.items())[6:]
        assert completed["sums"] == pytest.approx(sums[6:], rel=1e-4)
    left = [path.name for path in tmp_path.rglob("*.partial*")]
    assert left == []


def test_a_run_that_is_killed_loses_nothing_and_the_next_one_completes(live: LiveStore, tmp_path: Path) -> None:
    kill_at(["5", "before", "commit", "snapshots"], tmp_path)


@pytest.mark.full
def test_a_run_that_is_killed_anywhere_loses_nothing(live: LiveStore, tmp_path: Path) -> None:
    kill_at([str(point) for point in range(1, 28)], tmp_path)
