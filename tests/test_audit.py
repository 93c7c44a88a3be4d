"""What is accepted of the lock's advisories is said with date and reason."""

import datetime
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_each_exception_has_an_advisory_a_date_and_a_reason() -> None:
    lines = (ROOT / "audit-exceptions.txt").read_text(encoding="utf-8").splitlines()
    for line in (line for line in lines if line and not line.startswith("#")):
        advisory, date, reason = line.split(maxsplit=2)
        assert re.fullmatch(r"(CVE|GHSA|PYSEC|OSV)-[\w-]+", advisory), line
        assert datetime.date.fromisoformat(date) and len(reason.split()) > 2, line


def test_each_package_of_the_lock_is_pinned() -> None:
    """Else it couldn't be looked up."""
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    packages = [
        line.split("#")[0].strip() for line in lines if line.split("#")[0].strip() and not line.startswith((" ", "-"))
    ]
    assert len(packages) > 100
    assert all(re.match(r"[\w.\[\]-]+==[\w.+!]+( *;.*)?$", package) for package in packages)
