"""What the stages do: from radar files to scored, registered models and forecasts."""

import os

# Before torch is imported: its OpenMP reads them once. A thread that waits for the others spins for milliseconds by
# default, and takes from them the very processor that they need where other processes run too. Not to spin at all
# costs half of the speed on a quiet machine; this is about 10 µs. See benchmarks/train_beside.py.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
