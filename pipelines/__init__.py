"""What the stages do: from radar files to scored, registered models and forecasts."""

import os

# Before torch is imported: its OpenMP reads them once. A thread that waits for the others spins for milliseconds by
# default, and takes from them the very processor that they need where other processes run too.
# benchmarks/train_beside.py measures what this gains beside four, and that it costs nothing alone.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
