"""The table of what an ingestion could not take."""

import csv
from collections.abc import Mapping
from pathlib import Path

from pipelines.common.files import atomic_path
from pipelines.common.text import csv_cell


def write_quarantine(rejected: Mapping[str, str], quarantine: Path) -> None:
    """Write names and reasons, sorted, as CSV with columns ``file`` and ``reason``."""
    with atomic_path(quarantine) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["file", "reason"])
        table.writerows(map(csv_cell, row) for row in sorted(rejected.items()))
