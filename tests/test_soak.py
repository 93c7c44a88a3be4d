"""The soak of the operation: that its hours pass on the real servers, and that what it asks for can fail."""

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from archive import moving_cells
from conftest import Served
from domains import domain_in
from issued_files import write_issued
from ledger_rows import cycle

from pipelines.operation.ledger import append, ledger_file
from pipelines.operation.live_store import LiveStore
from pipelines.params.operation import Domain
from pipelines.radar.frame import Frame

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


@pytest.mark.parametrize("hours", [2, pytest.param(8, marks=pytest.mark.full)])
def test_hours_pass_with_what_goes_wrong_in_them(
    server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    soak, disk = import_module("soak"), import_module("soak_disk")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    soak.set_up(tmp_path, leave_out=["maps"])
    database = server.folder / "data/prefect/prefect.db"
    checks, use = soak.run_here(hours, 48, 610, database, disk.Disk(tmp_path / "data/disk"), Event())
    assert not any(checks.wrong.values()), checks.wrong
    # Some faults leave an hour without a forecast, and then there is a reason: else it would be among what is wrong.
    assert 2 * hours >= len(checks.issued) == len(checks.verified) >= 1.5 * hours
    assert len(use.wall) == hours
    lines = Path("runs.txt").read_text().splitlines()
    (away,) = (line for line in lines if "T02" in line and "forecast first [MLflow away]" in line)
    assert "Completed" in away and "fallback: " in away
    (cut,) = (line for line in lines if "T02" in line and "forecast second [truncated file]" in line)
    assert "can't be read yet" in cut or "in quarantine" in cut


@pytest.mark.full
def test_the_script_soaks_and_serves_and_judges(tmp_path: Path) -> None:
    ours = {name: of for name, of in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    script = [ROOT / "benchmarks/soak.py", tmp_path / "soak", "--hours", "6", "--size", "64", "--served", "1"]
    done = subprocess.run(
        [sys.executable, *script], env=ours | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    claims = [line for line in done.stdout.splitlines() if line.startswith("claim ")]
    assert len(claims) == 12 and all(line.endswith(" ok") for line in claims)


def test_faults_are_drawn_as_often_as_they_say_and_the_same_for_a_seed() -> None:
    inbox = import_module("soak_inbox")
    drawn = [inbox.fault_of(1, hour, 0) for hour in range(2, 10_002)]
    assert drawn[:50] == [inbox.fault_of(1, hour, 0) for hour in range(2, 52)]
    assert drawn != [inbox.fault_of(2, hour, 0) for hour in range(2, 10_002)]
    counts = Counter(drawn)
    for name, share in inbox.FAULTS.items():
        assert counts[name] == pytest.approx(10_000 * share, abs=5 * np.sqrt(10_000 * share))  # five sigma


@pytest.fixture
def judged(tmp_path: Path) -> tuple[Any, Domain]:
    """Checks of a domain whose live store has the frames of two hours."""
    inbox, checks = import_module("soak_inbox"), import_module("soak_checks")
    inboxes, domain = inbox.Inboxes(tmp_path / "in", 48), domain_in(tmp_path)
    LiveStore.of(domain).append([frame(number) for number in range(1, 5)])
    inboxes.whole[domain.name] |= {1, 2, 3, 4}
    return checks.Checks(inboxes), domain


def frame(number: int) -> Frame:
    inbox = import_module("soak_inbox")
    (sky,) = moving_cells("2024-06-01T12:00", 1, shape=(48, 48))
    return replace(sky, time=inbox.time_of(number), sha256=f"{number:064x}", rain_rate=inbox.rain(48, number))


def issue(domain: Domain, newest: int, shown: tuple[int, ...]) -> None:
    """Publish a forecast from frame ``newest`` that shows the rain of these frames."""
    write_issued(domain.out, [frame(newest)], np.stack([frame(one).rain_rate for one in shown]), step_s=1800)


@pytest.mark.parametrize(
    ("newest", "shown", "message", "found"),
    [
        (4, (5, 6), "published it", []),
        (3, (4, 5), "published it", ["undisturbed without a whole product", "wrong times"]),  # frame 4 is there
        (4, (7, 8), "published it", ["wrong times"]),  # what it shows is an hour later
        (4, (4, 5), "published it", ["wrong times"]),  # half an hour earlier
        (4, (5, 5), "published it", ["wrong times"]),  # it stands still
        (4, (5, 6), "all is well", ["without product or reason"]),
        (4, (5, 6), "published it; fallback: persistence", ["undisturbed without a whole product"]),
        (None, (), "published it", ["undisturbed without a whole product", "without product or reason"]),
        (None, (), "no forecast: data/store: why", ["undisturbed without a whole product"]),
        (None, (), "no forecast: KeyError: 3", ["undisturbed without a whole product", "without product or reason"]),
    ],
)
def test_what_is_wrong_with_a_forecast_is_found(
    judged: tuple[Any, Domain], newest: int | None, shown: tuple[int, ...], message: str, found: list[str]
) -> None:
    checks, domain = judged
    if newest is not None:
        issue(domain, newest, shown)
    checks.after_forecast(domain, 2, None, message)
    assert sorted(kind for kind, lines in checks.wrong.items() if lines) == found


def test_what_is_wrong_with_the_store_is_found(judged: tuple[Any, Domain]) -> None:
    checks, domain = judged
    wrong = ["frames stored that nobody sent, out of order, or not stored though sent"]
    assert checks._stored(domain) == []
    checks.inboxes.whole[domain.name] -= {1}
    assert checks._stored(domain) == wrong
    checks.inboxes.whole[domain.name] |= {1, 5}
    assert checks._stored(domain) == [], "it is younger than all that are stored: its cycle may have failed"
    LiveStore.of(domain).append([frame(6)])
    checks.inboxes.whole[domain.name] |= {6}
    assert checks._stored(domain) == wrong, "the frame before was lost"
    LiveStore.of(domain).append([replace(frame(5), rain_rate=frame(4).rain_rate)])
    assert checks._stored(domain) == ["the frame of 2024-10-10T02:30:00 has the pixels of another"]


def close(domain: Domain, number: int, *, late: int = 0, **changed: object) -> pd.DataFrame:
    """Rows of frame ``number``'s cycle, of persistence, scored with frames ``late`` steps later than they should be."""
    reference = frame(number).time.astype("datetime64[ns]")
    rows = cycle(0, {"persistence": 10}).assign(reference_time=reference)
    rows["minutes"] *= 6
    rows["valid_time"] = rows["reference_time"] + pd.to_timedelta(rows["minutes"], unit="min")
    seen = [frame(number + lead + late).rain_rate for lead in (1, 2)]
    pixels = rows[["hits", "false_alarms", "misses", "correct_negatives"]].sum(axis=1)
    rows["absolute_error"] = [np.nanmean(np.abs(frame(number).rain_rate - one)) for one in seen] * pixels
    append(domain.out, frame(number).time, rows.assign(**changed))
    return rows


VERIFIED = "1 cycle(s) verified, 0 open"


@pytest.mark.parametrize(
    ("changed", "sent", "found"),
    [
        ({}, True, 0),
        ({"late": 1}, True, 2),
        ({"late": -1}, True, 2),
        ({"gap": "no frame of this time"}, False, 0),
        ({}, False, 1),
    ],
)
def test_what_is_scored_with_other_frames_or_not_at_all_is_found(
    judged: tuple[Any, Domain], changed: dict[str, Any], sent: bool, found: int
) -> None:
    checks, domain = judged
    checks.issued = {(domain.name, "20241010T020000Z")}
    checks.inboxes.whole[domain.name] |= {5, 6} if sent else set()
    close(domain, 4, **changed)
    checks.after_verify(domain, 3, None, VERIFIED)
    assert len(checks.wrong.pop("wrong times")) == found
    assert not any(checks.wrong.values()), checks.wrong


def test_a_cycle_that_was_closed_before_its_frames_came_is_found(judged: tuple[Any, Domain]) -> None:
    checks, domain = judged
    checks.issued = {(domain.name, "20241010T020000Z")}
    close(domain, 4, gap="no frame of this time")
    checks.after_verify(domain, 2, None, VERIFIED)
    checks.inboxes.whole[domain.name] |= {6}
    checks.judge("")
    (line,) = checks.wrong["not verified once"]
    assert line.endswith("with the frame of 2024-10-10T03:00:00: no frame of this time")


@pytest.mark.parametrize(
    ("message", "fault", "found"),
    [
        (VERIFIED, None, 0),
        ("KeyError: 3; nothing verified", None, 1),
        (f"{VERIFIED}; skill isn't in MLflow yet: why", None, 1),
        (f"{VERIFIED}; skill isn't in MLflow yet: why", "MLflow away", 0),
        ("nothing verified", "full disk", 0),
    ],
)
def test_what_verify_and_archive_could_not_do_is_found(
    judged: tuple[Any, Domain], message: str, fault: str | None, found: int
) -> None:
    checks, domain = judged
    checks.after_verify(domain, 3, fault, message)
    assert len(checks.wrong["not verified once"]) == found
    checks.after_archive(domain, 7, "0 new frame(s) in archive/first (nothing to record), 0 expired")
    assert not checks.wrong["without an archive"]
    checks.after_archive(domain, 7, "a.nc: broken; 0 new frame(s) in archive/first (nothing to record), 0 expired")
    assert len(checks.wrong["without an archive"]) == 1


def test_what_is_wrong_with_the_ledger_is_found(judged: tuple[Any, Domain], capsys: pytest.CaptureFixture[str]) -> None:
    checks, domain = judged
    checks.inboxes.whole[domain.name] |= {5, 6}
    checks.issued = {(domain.name, "20241010T020000Z"), (domain.name, "20241010T010000Z")}
    rows = close(domain, 4)
    checks.after_verify(domain, 3, None, VERIFIED)
    checks.after_verify(domain, 3, None, VERIFIED)
    assert not any(checks.wrong.values()), checks.wrong
    ledger_file(domain.out, frame(4).time).unlink()
    append(domain.out, frame(4).time, rows)
    checks.after_verify(domain, 3, None, VERIFIED)
    (line,) = checks.wrong["not verified once"]
    assert line.endswith("20241010T020000Z.parquet: written again")
    append(domain.out, frame(2).time, pd.concat([rows, rows]))
    checks.after_verify(domain, 3, None, VERIFIED)
    assert len(checks.wrong["not verified once"]) == 2 and len(checks.wrong["wrong times"]) == 1
    checks.issued.add((domain.name, "20241010T030000Z"))
    checks.judge("")
    assert "claim cycles not verified once: 3.000 (wanted <= 0) SHORT" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("grows", "short"),
    [
        ("", []),
        ("sizes", ["ledgers, last third / middle third"]),
        ("memory", ["memory, early and late, difference / early"]),
        ("wall", ["all hours, minutes", "seconds, early and late, difference / early"]),
        ("cpu", ["seconds of processors, early and late, difference / early"]),
    ],
)
def test_what_grows_is_found(capsys: pytest.CaptureFixture[str], grows: str, short: list[str]) -> None:
    use = import_module("soak_use").Use()
    for hour in range(720):
        for name in ("wall", "cpu", "memory"):
            getattr(use, name).append(4.0 * (1 + hour / 1000 if name == grows else 1))
    use.sizes = [{"ledgers": 100.0 * (day if grows == "sizes" else 1)} for day in range(1, 31)]
    use.judge()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.endswith(" SHORT")]
    assert [line.removeprefix("claim ").partition(":")[0] for line in lines] == short


def test_a_server_that_hangs_or_cannot_answer_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    serving, asked = import_module("serving"), list[httpx.Request]()

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if len(asked) == 1:
            raise httpx.ReadTimeout("timed out", request=request)
        return httpx.Response(503 if len(asked) == 2 else 200, json={"id": 3})

    with httpx.Client(base_url="http://prefect/api", transport=httpx.MockTransport(answer)) as api:
        assert serving._ask(api, "GET", "/flow_runs/3") == {"id": 3} and len(asked) == 3
        monkeypatch.setattr(serving, "PATIENCE_S", 0.0)
        asked.clear()
        with pytest.raises(httpx.ReadTimeout):
            serving._ask(api, "GET", "/flow_runs/3")
