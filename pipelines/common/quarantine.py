"""The table of what an ingestion could not take."""

import csv
from collections.abc import Mapping
from pathlib import Path

from pipelines.common.files import atomic_path


def write_quarantine(rejected: Mapping[str, str], quarantine: Path) -> None:
    """Write names and reasons, sorted, as CSV with columns ``file`` and ``reason``."""
    with atomic_path(quarantine) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["file", "reason"])
        table.writerows(sorted(rejected.items()))
