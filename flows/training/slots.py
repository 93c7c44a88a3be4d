"""Where stages run side by side: a slot is a GPU (or a few, for one training), or without GPUs a share of the cores."""

import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from pipelines.common.errors import Unavailable, UserError
from pipelines.common.files import exclusive
from pipelines.common.processes import cores

LOOK_S = 5.0  # from one look for free GPUs to the next, where another flow has them


def visible_gpus() -> list[str]:
    """Return the UUIDs of this machine's GPUs, or of those among them that CUDA_VISIBLE_DEVICES names."""
    query = ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):  # no GPU, or none that answers
        return []
    known = [tuple(cell.strip() for cell in line.split(",")) for line in done.stdout.splitlines() if line.strip()]
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    wanted = None if named is None else [name.strip() for name in named.split(",")]
    return [uuid for index, uuid in known if wanted is None or index in wanted or uuid in wanted]


class Slots:
    """The slots of this machine; raises UserError if there is to be no slot, or one wants more GPUs than there are.

    Parameters
    ----------
    count : int
        How many there are where there is no GPU.
    gpus_each : int
        GPUs of one slot.
    locks : Path, optional
        Folder of the GPUs' locks, which all flows of a machine share: a GPU that another flow uses is not free.
    """

    def __init__(self, count: int, gpus_each: int = 1, locks: Path | None = None) -> None:
        if count < 1:
            raise UserError(f"slots: {count}: one at least")
        self.gpus, self.gpus_each = visible_gpus(), gpus_each
        if self.gpus and len(self.gpus) < gpus_each:
            raise UserError(f"params.yaml: train.devices: {gpus_each}, and this machine has {len(self.gpus)} GPU(s)")
        self.count = len(self.gpus) // gpus_each if self.gpus else count
        self.locks = locks or Path(tempfile.gettempdir())
        self._free = threading.Semaphore(self.count)
        # One process uses all cores by default, so two would use each twice.
        threads = max(1, cores() // self.count)
        self._threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}

    @contextmanager
    def take(self, stopping: threading.Event) -> Iterator[dict[str, str]]:
        """Wait for a free slot, and hold it; return the environment that keeps a process within it.

        Raises
        ------
        UserError
            If all are to stop while another flow has the GPUs.
        """
        with self._free, ExitStack() as held:
            environment = dict(self._threads)
            if self.gpus:
                while not (ours := self._lock_gpus(held)):
                    if stopping.wait(LOOK_S):
                        raise UserError("stopped")
                environment["CUDA_VISIBLE_DEVICES"] = ",".join(ours)
            yield environment

    def _lock_gpus(self, held: ExitStack) -> list[str]:
        """Return the GPUs of one slot, locked until ``held`` is closed; none if too few are free."""
        ours: list[str] = []
        with ExitStack() as locks:
            for gpu in self.gpus:
                with suppress(Unavailable):
                    locks.enter_context(exclusive(self.locks / f"scs-nowcast-{gpu}.lock", wait_s=0))
                    ours.append(gpu)
                if len(ours) == self.gpus_each:
                    held.push(locks.pop_all())
                    return ours
        return []
