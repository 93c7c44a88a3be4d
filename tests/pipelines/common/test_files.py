"""Writes are whole or absent, and one writer is at work: also where the writer raises, or is killed."""

import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from pipelines.common.errors import Unavailable
from pipelines.common.files import as_text, atomic_path, exclusive
from pipelines.operation.products.names import STAMP


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_it_is_whole(tmp_path):
    target = tmp_path / "new" / "table.json"
    with atomic_path(target) as temporary:
        temporary.write_text("{}")
        assert temporary.suffix == ".json"
        assert not target.exists()
    assert target.read_text() == "{}"
    assert entries(target.parent) == ["table.json"]


def test_a_folder_replaces_the_one_before_it(tmp_path):
    target = tmp_path / "store.zarr"
    for name in ("first", "second"):
        with atomic_path(target) as temporary:
            temporary.mkdir()
            (temporary / name).write_text(name)
    assert entries(target) == ["second"]
    assert entries(tmp_path) == ["store.zarr"]


@pytest.mark.parametrize("folder", [False, True])
def test_what_was_there_stays_if_the_writer_raises(tmp_path, folder):
    target = tmp_path / "out"

    def write(text: str) -> None:
        with atomic_path(target) as temporary:
            if folder:
                temporary.mkdir()
            (temporary / "a" if folder else temporary).write_text(text)
            if text == "bad":
                raise RuntimeError

    write("good")
    with pytest.raises(RuntimeError):
        write("bad")
    assert (target / "a" if folder else target).read_text() == "good"
    assert entries(tmp_path) == ["out"]


def test_a_killed_writer_leaves_nothing_that_the_next_one_does_not_clear(tmp_path):
    target = tmp_path / "store"
    script = (
        "import sys, time; from pathlib import Path; from pipelines.common.files import atomic_path\n"
        f"with atomic_path(Path({str(target)!r})) as temporary:\n"
        "    temporary.mkdir(); (temporary / 'half').touch(); print('ready', flush=True); time.sleep(60)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert writer.stdout.readline() == "ready\n"
    # A writer that lives keeps what it writes.
    with atomic_path(target) as temporary:
        temporary.write_text("whole")
    assert any(str(writer.pid) in name for name in entries(tmp_path))
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    assert target.read_text() == "whole"
    with atomic_path(target) as temporary:
        temporary.write_text("again")
    assert entries(tmp_path) == ["store"]


def test_other_files_beside_it_are_left_alone(tmp_path):
    (tmp_path / ".other.99999999.partial").touch()
    (tmp_path / "outlier").touch()
    with atomic_path(tmp_path / "out") as temporary:
        temporary.touch()
    assert entries(tmp_path) == [".other.99999999.partial", "out", "outlier"]


def test_what_was_left_of_a_name_by_the_time_is_cleared_by_the_next_name(tmp_path):
    for name in (".20240601T120000Z.99999999.partial", ".20240601T120000Z.1.partial", ".other.99999999.partial"):
        (tmp_path / name).mkdir()
    with atomic_path(tmp_path / "20240601T130000Z", names=STAMP) as temporary:
        temporary.mkdir()
    assert entries(tmp_path) == [".20240601T120000Z.1.partial", ".other.99999999.partial", "20240601T130000Z"]


def test_a_killed_writer_may_have_had_this_process_s_number(tmp_path):
    (tmp_path / f".store.{os.getpid()}.partial").mkdir()
    with atomic_path(tmp_path / "store") as temporary:
        temporary.mkdir()
    assert entries(tmp_path) == ["store"]


def test_a_lock_is_held_by_one_and_is_free_when_its_holder_is_killed(tmp_path):
    lock = tmp_path / "new" / ".lock"
    script = (
        "import time; from pathlib import Path; from pipelines.common.files import exclusive\n"
        f"with exclusive(Path({str(lock)!r})):\n"
        "    print('ready', flush=True); time.sleep(60)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "ready\n"
    for wait_s in (0, 0.2):
        refusal = re.escape(f"{lock}: another writer has held it for {wait_s:g} s")
        with pytest.raises(Unavailable, match=refusal), exclusive(lock, wait_s=wait_s):
            pass
    holder.kill()
    holder.wait()
    holder.stdout.close()
    with exclusive(lock, wait_s=0):
        pass
    assert lock.read_bytes() == b""


def test_a_lock_is_free_when_its_block_raises_and_when_another_thread_ends_it(tmp_path):
    lock = tmp_path / ".lock"
    with pytest.raises(ZeroDivisionError), exclusive(lock):
        raise ZeroDivisionError
    held = ExitStack()
    held.enter_context(exclusive(lock, wait_s=0))
    with pytest.raises(Unavailable), exclusive(lock, wait_s=0):
        pass
    ender = threading.Thread(target=held.close)
    ender.start()
    ender.join()
    with exclusive(lock, wait_s=0):
        pass


def test_a_name_of_any_bytes_is_text():
    assert as_text(os.fsdecode(b"r\xe9seau.h5")) == r"r\xe9seau.h5"
    assert as_text(Path("réseau.h5")) == "réseau.h5"
