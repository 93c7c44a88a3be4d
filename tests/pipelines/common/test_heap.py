"""What was freed goes back to the system."""

import subprocess
import sys

import pytest

SCRIPT = """
from pathlib import Path
from pipelines.common.heap import trim
def held():
    return next(int(line.split()[1]) / 1e3 for line in Path("/proc/self/status").open() if line.startswith("VmRSS"))
blocks = [bytes([1]) * 60_000 for _ in range(2000)]  # 120 MB, of blocks that the C library keeps
last = bytes([1]) * 60_000
full = held()
del blocks
trim()
print(full - held())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_that_is_free_goes_back() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert float(done.stdout) > 100
