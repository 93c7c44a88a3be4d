"""When and where it runs: Prefect flows over functions of pipelines."""

import logging
import sys
import traceback
from pathlib import Path

import pipelines

# `python -m` and Prefect look into the working folder first, where another project may have a folder of this name.
_found, _ours = Path(next(iter(pipelines.__path__))).resolve(), Path(__file__).resolve().parent.with_name("pipelines")
if _found != _ours:
    sys.exit(f"error: {_found} hides {_ours}: work in another folder, or set PYTHONSAFEPATH=1")

from pipelines.common.text import printable  # noqa: E402 - it is ours


class Printable(logging.Filter):
    """Shows all that Prefect logs as text: the words of an exception, in tracebacks too, may be those of a file."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the record."""
        record.msg, record.args = "\n".join(map(printable, record.getMessage().split("\n"))), None
        if record.exc_info and record.exc_info[1]:
            parts = traceback.format_exception(record.exc_info[1])  # but for lines of code, each is to be one
            lines = (part.splitlines() if part.startswith("  ") else [part.strip("\n")] for part in parts)
            record.exc_text = "\n".join(printable(line) for of_part in lines for line in of_part)
        return True


for _name in ("prefect.flow_runs", "prefect.task_runs", "prefect.engine"):
    logging.getLogger(_name).addFilter(Printable())

POOL = "forecasts"  # Prefect's work pool of the hourly forecasts
TRAINING_POOL = "training"  # of the retraining, on the machine that has the archive
GPU_POOL = "training-gpu"  # of GPU hosts
