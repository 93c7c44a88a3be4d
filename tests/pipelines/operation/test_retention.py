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
from domains import domain_in
from issued_files import write_issued

from pipelines.operation.archive import day_file, how_it_differs
from pipelines.operation.live_store import LiveStore
from pipelines.operation.retention import archive_days, expire_days
from pipelines.params.operation import Domain

FRAMES = [frame for day in (1, 2, 3, 4) for frame in moving_cells(f"2024-06-0{day}T12:00:00", 3, shape=(32, 32))]
NOW = np.datetime64("2024-06-05T12:00:00")
DAYS = [np.datetime64(f"2024-06-0{day}") for day in (1, 2, 3, 4)]
TESTS = str(Path(__file__).resolve().parents[2])


@pytest.fixture
def domain(tmp_path: Path) -> Domain:
    return domain_in(tmp_path, keep_days=1)


@pytest.fixture
def live(domain: Domain) -> LiveStore:
    live = LiveStore.of(domain)
    live.append(FRAMES)
    return live


def expire(domain: Domain) -> tuple[int, list[str]]:
    return expire_days(domain, NOW, wall_clock=datetime.now(UTC) + timedelta(days=1))


def days_of(live: LiveStore) -> list[int]:
    return [int(str(day)[-2:]) for day in np.unique(live.open()["time"].to_numpy().astype("datetime64[D]"))]


def test_old_days_leave_the_live_store_after_they_are_archived(live: LiveStore, domain: Domain) -> None:
    failures = [f"{day_file(domain, day)}: the day stays in the live store" for day in DAYS[:2]]
    assert expire(domain) == (0, [f"{words}: there is no such file" for words in failures])
    before = live.open().load()
    size = sum(path.stat().st_size for path in live.path.rglob("*") if path.is_file())
    written, wrong = archive_days(domain, NOW)
    assert not wrong and written == {day_file(domain, day): 3 for day in DAYS}
    assert archive_days(domain, NOW) == ({}, [])
    assert expire(domain) == (6, [])
    assert days_of(live) == [3, 4] and expire(domain) == (0, [])
    for number, day in enumerate(DAYS):
        of_day = before.isel(time=slice(3 * number, 3 * number + 3))
        assert how_it_differs(day_file(domain, day), of_day) is None
    np.testing.assert_array_equal(live.open()["rainfall_flux"], before["rainfall_flux"][6:])
    assert sum(path.stat().st_size for path in live.path.rglob("*") if path.is_file()) < size


def test_a_day_whose_file_is_not_right_stays(live: LiveStore, domain: Domain) -> None:
    archive_days(domain, NOW)
    path = day_file(domain, DAYS[0])
    path.write_bytes(path.read_bytes()[:4000])
    expired, failures = expire(domain)
    assert expired == 3 and len(failures) == 1 and failures[0].startswith(f"{path}: the day stays in the live store: ")
    assert days_of(live) == [1, 3, 4]


def test_what_a_forecast_needs_that_is_not_verified_stays(live: LiveStore, domain: Domain) -> None:
    archive_days(domain, NOW)
    issued = write_issued(domain.out, FRAMES[6:9], FRAMES[8].rain_rate[None])  # of 3 June
    assert expire(domain) == (3, [])
    assert days_of(live) == [2, 3, 4]
    issued.unlink()
    issued.parent.rmdir()
    assert expire(domain) == (3, []) and days_of(live) == [3, 4]


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
    from domains import domain_in
    from pipelines.operation.live_store import LiveStore
    from pipelines.operation.retention import archive_days, expire_days

    root, now = Path(sys.argv[2]), np.datetime64("2024-06-05T12:00:00")

    def work(folder):
        domain = domain_in(folder, keep_days=1)
        archive_days(domain, now)
        expire_days(domain, now, wall_clock=datetime.now(UTC) + timedelta(days=1))

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
        stored = LiveStore.of(domain_in(folder)).open()
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
    (tmp_path / "store").rename(tmp_path / "start" / "store")
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
