"""When and where it runs: Prefect flows over functions of pipelines."""

import sys
from pathlib import Path

import pipelines

# `python -m` and Prefect look into the working folder first, where another project may have a folder of this name.
_found, _ours = Path(next(iter(pipelines.__path__))).resolve(), Path(__file__).resolve().parent.with_name("pipelines")
if _found != _ours:
    sys.exit(f"error: {_found} hides {_ours}: work in another folder, or set PYTHONSAFEPATH=1")

POOL = "forecasts"  # Prefect's work pool of the hourly forecasts
TRAINING_POOL = "training"  # of the retraining, on the machine that has the archive
GPU_POOL = "training-gpu"  # of GPU hosts
