"""What the stages do: from radar files to scored, registered models and forecasts."""

import os
import sys

if sys.platform in ("linux", "darwin"):  # else common says so, as soon as one wants more than to look for plugins
    from pipelines.common.extras import MissingExtras

    # Last: it is asked only for what no other finds.
    sys.meta_path.append(MissingExtras())

# Before torch is imported: its OpenMP reads them once. A thread that waits for the others spins for milliseconds by
# default, and takes from them the very processor that they need where other processes run too.
# benchmarks/train_beside.py measures what this gains beside four, and that it costs nothing alone.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
