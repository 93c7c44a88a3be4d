"""What every room needs: errors, whole-or-absent files, provenance, workers, quarantine, checkpoints."""

import sys
from pathlib import Path

# Not in the folder above: pysteps imports its plugins whenever it is imported, and must not fail by ours.
if sys.platform not in ("linux", "darwin"):
    where = f"scs-nowcast runs on Linux and macOS, and this is {sys.platform}"
    if Path(sys.argv[0]).stem == "scs":
        sys.exit(f"error: {where}")
    raise ImportError(where)
