"""A disk of a soak that can be full: a file system in memory, in a name space of this process alone."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOM = "2g"
SPARE_KB = 300  # what a first try gets in, if anything: it ends somewhere in the frames or the products
FOR_S = 10.0  # tries are 2 and 20 s apart
MINE = "SCS_SOAK_MOUNTS"


def mount_for_ourselves() -> None:
    """Start this program again where it can mount, if the system lets us; such mounts end with it."""
    allowed = subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode == 0
    if allowed and MINE not in os.environ:
        os.execvpe("unshare", ["unshare", "-rm", sys.executable, *sys.argv], os.environ | {MINE: "1"})


class Disk:
    """A disk at ``path``, where there can be one."""

    def __init__(self, path: Path) -> None:
        self.path, self.there = path, MINE in os.environ
        path.mkdir(parents=True)
        if self.there:
            self._mount(f"size={ROOM}", "-t", "tmpfs", "tmpfs")

    @contextmanager
    def full(self) -> Iterator[None]:
        """Let it be full when the block begins; after `FOR_S` there is room again."""
        used = subprocess.run(["df", "--output=used", self.path], capture_output=True, text=True, check=True)
        self._mount(f"remount,size={int(used.stdout.split()[-1]) + SPARE_KB}k")
        again = threading.Timer(FOR_S, self._mount, [f"remount,size={ROOM}"])
        again.start()
        try:
            yield
        finally:
            again.join()

    def _mount(self, options: str, *kind: str) -> None:
        subprocess.run(["mount", *kind, "-o", options, self.path], check=True)
