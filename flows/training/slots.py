"""Where stages run side by side: a slot is a GPU (or a few, for one training), or without GPUs a share of the cores."""

import os
import subprocess
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.common.errors import Unavailable, UserError
from pipelines.common.files import exclusive


def visible_gpus() -> list[str]:
    """UUIDs of this machine's GPUs, or of those among them that CUDA_VISIBLE_DEVICES names."""
    query = ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):  # no GPU, or none that answers
        return []
    known = [tuple(cell.strip() for cell in line.split(",")) for line in done.stdout.splitlines() if line.strip()]
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    wanted = None if named is None else [name.strip() for name in named.split(",")]
    return [uuid for index, uuid in known if wanted is None or index in wanted or uuid in wanted]


@dataclass
class Slot:
    """A slot that is taken.

    Parameters
    ----------
    environment : dict of str
        What keeps a process within it.
    held : ExitStack
        Locks on its GPUs.
    """

    environment: dict[str, str]
    held: ExitStack = field(default_factory=ExitStack)


class Slots:
    """The slots of this machine.

    Parameters
    ----------
    count : int
        How many there are where there is no GPU.
    gpus_each : int
        GPUs of one slot.
    locks : Path, optional
        Folder of the GPUs' locks, which all flows of a machine share: a GPU that another flow uses is not free.

    Raises
    ------
    UserError
        If there is to be no slot, or one wants more GPUs than there are.
    """

    def __init__(self, count: int, gpus_each: int = 1, locks: Path | None = None) -> None:
        if count < 1:
            raise UserError(f"slots: {count}: one at least")
        self.gpus, self.gpus_each = visible_gpus(), gpus_each
        if self.gpus and len(self.gpus) < gpus_each:
            raise UserError(f"params.yaml: train.devices: {gpus_each}, and this machine has {len(self.gpus)} GPU(s)")
        self.count = len(self.gpus) // gpus_each if self.gpus else count
        self.locks = locks or Path(tempfile.gettempdir())
        self.taken = 0
        # One process uses all cores by default, so two would use each twice.
        threads = max(1, len(os.sched_getaffinity(0)) // self.count)
        self._threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}

    def take(self) -> Slot | None:
        """Take one; None if none is free."""
        if self.taken == self.count:
            return None
        slot = Slot(dict(self._threads))
        if self.gpus:
            ours = []
            for gpu in self.gpus:
                try:
                    slot.held.enter_context(exclusive(self.locks / f"scs-nowcast-{gpu}.lock", wait_s=0))
                except Unavailable:
                    continue
                ours.append(gpu)
                if len(ours) == self.gpus_each:
                    break
            else:
                slot.held.close()
                return None
            slot.environment["CUDA_VISIBLE_DEVICES"] = ",".join(ours)
        self.taken += 1
        return slot

    def give_back(self, slot: Slot) -> None:
        """Free a slot."""
        slot.held.close()
        self.taken -= 1
