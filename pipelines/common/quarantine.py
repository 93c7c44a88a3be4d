"""The table of what an ingestion could not take."""

import csv
from collections.abc import Mapping
from pathlib import Path

from pipelines.common.files import atomic_path
from pipelines.common.text import csv_cell, printable

TOLD = 20  # of what is in quarantine, that are told of one by one


def write_quarantine(rejected: Mapping[str, str], quarantine: Path) -> None:
    """Write names and reasons, sorted, as CSV with columns ``file`` and ``reason``."""
    with atomic_path(quarantine) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["file", "reason"])
        table.writerows(map(csv_cell, row) for row in sorted(rejected.items()))


def print_rejected(rejected: Mapping[str, str], quarantine: Path) -> None:
    """Print a line for each name and reason, the first of many."""
    for name, reason in sorted(rejected.items())[:TOLD]:
        print(printable(f"{name}: {reason}"))
    if len(rejected) > TOLD:
        print(f"and {len(rejected) - TOLD} more in {quarantine}")
