"""A file on which a decoder crashes or hangs costs that file alone."""

import ctypes
import logging
import os
import resource
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from radar_files import write_odim
from waiting import eventually

from pipelines.common import workers
from pipelines.common.errors import UnreadableFile
from pipelines.common.limits import MB, Limits
from pipelines.common.workers import Decoders, Failure, guarded
from pipelines.radar.readers.read import read_time

TIME = datetime(2021, 2, 28, 23, 55)


def test_crash_hang_and_refusal_cost_one_task_each(tmp_path):
    good = write_odim(tmp_path / "a.h5", np.ones((12, 16), np.uint8), TIME)
    (tmp_path / "bad.h5").write_bytes(b"x")
    decoders = Decoders(1)
    assert decoders.call(read_time, (good,)) == np.datetime64(TIME)
    assert decoders.call(os.abort, ()) == Failure("it crashed its decoder (SIGABRT)", passing=True)
    assert decoders.call(ctypes.string_at, (0,)) == Failure("it crashed its decoder (SIGSEGV)", passing=True)
    hasty = Decoders(1, limit_s=1.0)
    assert hasty.call(time.sleep, (120,)) == Failure("decoding it took longer than 1 s", passing=True)
    assert hasty.call(divmod, (7, 2)) == (3, 1), "by another worker"
    assert decoders.call(read_time, (tmp_path / "none.h5",)) == Failure("No such file or directory", passing=True)
    refused = decoders.call(read_time, (tmp_path / "bad.h5",))
    assert isinstance(refused, Failure)
    assert not refused.passing
    assert decoders.call(read_time, (good,)) == np.datetime64(TIME)


def test_results_come_in_order_from_several_workers():
    tasks = [(0.05 * (i % 3),) for i in range(9)]
    assert list(Decoders(2).map(time.sleep, tasks)) == [None] * 9
    assert list(Decoders(2).map(divmod, [(i, 3) for i in range(9)])) == [divmod(i, 3) for i in range(9)]


def test_a_second_worker_is_started_only_for_what_runs_beside():
    decoders = Decoders(2)
    assert decoders.call(os.getpid, ()) == decoders.call(os.getpid, ())


def test_a_worker_ends_with_its_run():
    decoders = Decoders(1)
    process = decoders.call(os.getpid, ())
    assert Path(f"/proc/{process}").exists()
    assert process != os.getpid()
    del decoders
    status = Path(f"/proc/{process}/stat")
    assert eventually(lambda: not status.exists() or status.read_text().split()[2] == "Z", pause_s=0.1)


def test_guarded_raises_what_the_function_raises(tmp_path):
    with pytest.raises(UnreadableFile, match=r"none\.h5: No such file"):
        guarded(read_time, tmp_path / "none.h5")


def test_a_mistake_in_the_program_is_no_bad_file():
    decoders = Decoders(1)
    with pytest.raises(ZeroDivisionError):
        decoders.call(divmod, (1, 0))
    with pytest.raises(RuntimeError, match="status 3"):
        decoders.call(os._exit, (3,))
    assert decoders.call(divmod, (7, 2)) == (3, 1)


def test_an_answer_that_cannot_be_sent_ends_no_worker():
    decoders = Decoders(1, limits=Limits(memory_mb=1024))
    process = decoders.call(os.getpid, ())
    # 500 MB, of which there is no room for a copy.
    memory = Failure("too large: it takes more than 1024 MB of memory to decode (max_memory_mb)", passing=True)
    assert decoders.call(bytes, (500 * MB,)) == memory
    with pytest.raises(RuntimeError, match=r"^function of a worker can't be sent: "):
        decoders.call(eval, ("lambda: 0",))
    assert decoders.call(os.getpid, ()) == process


def test_what_a_file_says_of_memory_is_not_of_this_machines(tmp_path):
    path = tmp_path / "out of memory.h5"
    path.write_bytes(b"malloc failed")
    with pytest.raises(UnreadableFile) as refused:
        guarded(read_time, path)
    assert refused.value.reason == "no radar format that is known: it starts with b'malloc f'"


def test_a_worker_has_no_login(monkeypatch):
    for name in ("PREFECT_API_AUTH_STRING", "MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "marked-5ec1")
    environment = Decoders(1).call(Path.read_text, (Path("/proc/self/environ"),))
    assert "PATH=" in environment
    assert "marked-5ec1" not in environment


def test_relative_paths_are_from_where_the_run_is(tmp_path, monkeypatch):
    decoders = Decoders(1)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        write_odim(Path("here.h5"), np.ones((12, 16), np.uint8), TIME)
        assert decoders.call(read_time, (Path("here.h5"),)) == np.datetime64(TIME)
        Path("here.h5").unlink()


def test_a_worker_has_the_memory_that_it_may_have_and_no_more():
    decoders = Decoders(1, limits=Limits(memory_mb=1024))
    process = decoders.call(os.getpid, ())
    assert decoders.call(resource.getrlimit, (resource.RLIMIT_AS,))[0] == 1024 * MB
    assert isinstance(decoders.call(len, (bytes(100 * MB),)), int), "what is less is there"
    with pytest.raises(MemoryError):
        decoders.call(bytes, (1024 * MB,))
    assert decoders.call(os.getpid, ()) == process


def test_a_worker_loads_no_torch_and_runs_one_blas_thread(tmp_path):
    """Others would take gigabytes of address space before there is a file."""
    decoders = Decoders(1)
    decoders.call(read_time, (write_odim(tmp_path / "a.h5", np.ones((12, 16), np.uint8), TIME),))
    loaded = decoders.call(eval, ("sorted(__import__('sys').modules)",))
    assert "h5py" in loaded
    assert not {"torch", "mlflow", "prefect"} & set(loaded)
    assert [decoders.call(os.getenv, (f"{library}_NUM_THREADS",)) for library in ("OPENBLAS", "OMP", "MKL")] == [
        "1"
    ] * 3


def test_where_the_system_limits_no_memory_it_is_told_of_once(tmp_path, monkeypatch, caplog):
    """As on macOS, whose kernel takes the limit and doesn't hold to it."""
    folder = tmp_path / "as"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("import resource\nresource.setrlimit = lambda what, limits: None\n")
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    workers._warn_once.cache_clear()
    for _ in range(2):
        assert Decoders(1, limits=Limits(memory_mb=1024)).call(divmod, (7, 2)) == (3, 1)
    words = "this system doesn't limit the memory of a process: a small file can take all there is"
    assert caplog.record_tuples == [("pipelines.common.workers", logging.WARNING, words)]
