"""What goes by its age goes alone: nothing unverified, nothing that isn't asked for."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from domains import SIMULATED, domain_in

from pipelines.operation.cleanup import remove_old
from pipelines.operation.ledger import BESIDE, LEDGER, ledger_file
from pipelines.operation.products.dataset import stamp
from pipelines.operation.products.published import published_times
from pipelines.operation.verify import unverified
from pipelines.params.operation import Domain

CYCLES = [np.datetime64(f"2024-06-{day:02d}T12:00:00") for day in range(1, 11)]
NOW = datetime.now(UTC)


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """Ten days with a forecast each, all but that of 2 June verified, and two raw files."""
    for reference in CYCLES:
        for kind in (LEDGER, *BESIDE):
            path = ledger_file(tmp_path / "out", reference, kind)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("rows")
        (tmp_path / "out" / stamp(reference) / "maps").mkdir(parents=True)
        (tmp_path / "out" / stamp(reference) / "maps/a.png").write_text("map")
    ledger_file(tmp_path / "out", CYCLES[1]).unlink()
    for name in ("inbox-done/a.h5", "inbox-done/b.h5", "inbox/c.h5", "inbox-quarantine/d.h5"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("raw")
    return tmp_path


def test_by_default_all_stays(full: Path) -> None:
    before = files(full)
    assert not SIMULATED.removes and remove_old(domain_in(full), NOW + timedelta(days=9999)) == []
    assert files(full) == before


def test_verified_forecasts_go_by_their_age_before_the_newest(full: Path) -> None:
    domain = domain_in(full, keep_forecast_days=3)
    ledger = files(full / "out/ledger")
    assert remove_old(domain, NOW) == ["5 forecast(s)"]  # of 1, 3, 4, 5 and 6 June
    assert published_times(full / "out") == [CYCLES[1], *CYCLES[6:]]
    assert unverified(full / "out") == [CYCLES[1]]
    assert files(full / "out/ledger") == ledger and len(files(full / "inbox-done")) == 2
    assert remove_old(domain, NOW) == []


def test_what_a_killed_run_left_of_a_forecast_goes(full: Path) -> None:
    folder = full / "out" / stamp(CYCLES[0])
    folder.rename(folder.with_name(f".{folder.name}.removed"))
    assert remove_old(domain_in(full, keep_done_days=1), NOW) == []
    assert not list((full / "out").glob(".*"))


def test_the_ledger_goes_after_its_forecasts(full: Path) -> None:
    kept = domain_in(full, keep_ledger_days=2)
    assert remove_old(kept, NOW) == [], "the first day has its forecast"
    both = domain_in(full, keep_ledger_days=2, keep_forecast_days=5)
    ledger_file(full / "out", CYCLES[1]).write_text("rows")
    assert remove_old(both, NOW) == ["4 forecast(s)", "4 day(s) of the ledger"]
    for kind in (LEDGER, *BESIDE):
        assert {Path(name).stem for name in files(full / "out" / kind)} == {stamp(one) for one in CYCLES[4:]}
    assert unverified(full / "out") == []


def test_raw_files_go_by_when_they_were_done(full: Path) -> None:
    os.utime(full / "inbox-done/a.h5", (0, 0))  # what the sender says of its time
    (full / "inbox-done/link").symlink_to(full / "inbox/c.h5")
    domain = domain_in(full, keep_done_days=30)
    assert remove_old(domain, NOW + timedelta(days=29)) == []
    assert remove_old(domain, NOW + timedelta(days=31)) == ["2 raw file(s)"]
    assert files(full / "inbox-done") == {"link"}
    assert files(full / "inbox") == {"c.h5"} and files(full / "inbox-quarantine") == {"d.h5"}


def test_a_ledger_too_short_for_rolling_skill_is_refused() -> None:
    with pytest.raises(ValueError, match="keep_ledger_days should be twice skill_days"):
        Domain.model_validate(SIMULATED.model_dump() | {"name": "x", "skill_days": 7, "keep_ledger_days": 13})
    assert Domain.model_validate(SIMULATED.model_dump() | {"name": "x", "skill_days": 7, "keep_ledger_days": 14})
