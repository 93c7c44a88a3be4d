"""A disk that is full, for real: a file system of a few kilobytes, in a name space of its own."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from pipelines.common.errors import Unavailable, UserError
from pipelines.common.full_disk import told_when_full

TESTS = Path(__file__).resolve().parents[2]
MOUNT = "mount -t tmpfs -o size={} tmpfs {}"
mountable = subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode == 0
SCRIPT = """
import subprocess, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from archive import moving_cells
from pipelines.common.errors import Unavailable
from pipelines.common.files import write_text
from pipelines.common.rights import Rights
from pipelines.operation.live_store import LiveStore
disk, size = Path(sys.argv[2]), sys.argv[3]
frames = moving_cells("2024-06-01T12:00:00", 6, shape=(128, 128))
if size.endswith("publish"):
    import numpy as np
    from domains import SIMULATED
    from small_model import loaded
    from pipelines.operation.forecast import forecast
    from pipelines.operation.inputs import Source
    from pipelines.operation.products.publish import publish
    model, by_time = loaded("persistence"), {frame.time: frame for frame in frames[:4]}
    source = Source("radar", np.array(list(by_time)), by_time.__getitem__)
    made, _ = forecast(source, lambda: model, SIMULATED.policy, minutes=60)
def write():
    if size.endswith("text"):
        return write_text(disk / "out/latest.json", "x" * 50_000)
    if size.endswith("publish"):
        return publish(made, frames[:4], disk / "out/20240601T121500Z")
    return LiveStore(disk / "live", Rights("CC0-1.0")).append(frames)
try:
    write()
except Unavailable as error:
    print(error)
left = [path.name for path in disk.rglob("*.partial*")]
subprocess.run(["mount", "-o", "remount,size=20m", disk], check=True)
write()
print(left, "then", sum(path.is_file() for path in disk.rglob("*")) > 0)
"""


@pytest.mark.skipif(not mountable, reason="the system lets nobody mount")
@pytest.mark.parametrize(
    "size, where",
    [
        *[("16k text", "out"), ("8k", "."), ("40k", "live")],
        # The netCDF, Zarr, a GeoTIFF and a map: each library has words of its own.
        *[pytest.param(f"{size}k publish", "out", marks=pytest.mark.full) for size in (100, 700, 1000)],
    ],
)
def test_it_is_told_with_the_path_and_what_is_whole_follows_when_there_is_room(
    tmp_path: Path, size: str, where: str
) -> None:
    (tmp_path / "disk").mkdir()
    mount = MOUNT.format(size.split()[0], tmp_path / "disk")
    command = f'{mount} && exec "$0" -c "$1" {TESTS} {tmp_path}/disk "{size}"'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", command, sys.executable, textwrap.dedent(SCRIPT)],
        env=os.environ | {"PYTHONPATH": str(TESTS.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == [f"{tmp_path / 'disk' / where}: No space left on device", "[] then True"], (
        done.stderr
    )


def test_a_library_that_calls_it_something_else_is_believed_where_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RuntimeError, match="TIFFWriteDirectory"), told_when_full(tmp_path):
        raise RuntimeError("TIFFWriteDirectoryTagData: IO error writing tag data")
    monkeypatch.setattr("pipelines.common.full_disk.NEARLY", 1 << 62)
    with (
        pytest.raises(Unavailable, match=f"^{tmp_path}/new: No space left on device$"),
        told_when_full(tmp_path / "new"),
    ):
        raise RuntimeError("TIFFWriteDirectoryTagData: IO error writing tag data")
    with pytest.raises(UserError, match=r"^models\.scs: the loss is nan$"), told_when_full(tmp_path):
        raise UserError("models.scs: the loss is nan")
