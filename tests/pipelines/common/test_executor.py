"""Shards on a real Dask cluster: the same results in the same order, whatever becomes of a worker."""

import ctypes
import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import image_files
import pandas as pd
import pytest
import video_files
from archive import write_archive
from ingested import PARAMS, Result, archive
from small_model import NETWORK, write_model
from small_training import small_params
from worker_tasks import call, kill_always, kill_once

from pipelines.common import dask_executor, provenance
from pipelines.common.errors import Unavailable, UserError
from pipelines.common.executor import LOCAL, Executor, in_order, open_executor
from pipelines.common.limits import Limits
from pipelines.common.provenance import sha256
from pipelines.common.workers import Failure
from pipelines.images import ingest as images
from pipelines.images.ingest import ingest_images
from pipelines.nowcast.hindcast import score_methods
from pipelines.nowcast.index import index
from pipelines.nowcast.methods.interface import factory
from pipelines.params.executor import Executor as Settings
from pipelines.params.read import Params
from pipelines.radar import ingest as radar
from pipelines.radar.ingest import ingest_radar
from pipelines.video import ingest as video
from pipelines.video.ingest import ingest_video

CLUSTER = Settings(kind="dask", workers=2).model_dump()


@pytest.fixture(scope="module")
def printed() -> list[str]:
    return []


@pytest.fixture(scope="module")
def cluster(printed: list[str]) -> Iterator[Executor]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("builtins.print", lambda *words, **_: printed.append(" ".join(map(str, words))))
        with open_executor(**CLUSTER) as executor:
            yield executor


@pytest.fixture(params=["local", "dask"])
def executor(request: pytest.FixtureRequest) -> Executor:
    return LOCAL if request.param == "local" else request.getfixturevalue("cluster")


def test_results_come_in_the_order_of_tasks(executor: Executor) -> None:
    tasks = [(number, 7) for number in range(40)]
    assert list(executor.map(divmod, tasks, at_once=2)) == [divmod(number, 7) for number in range(40)]
    for batch in (1, 16):
        assert list(executor.decode(divmod, tasks, Limits(), batch)) == [divmod(number, 7) for number in range(40)]


def test_a_crash_of_a_decoder_costs_its_file(executor: Executor) -> None:
    answers = list(executor.decode(ctypes.string_at, [(0,), (b"good",)], Limits()))
    assert answers == [Failure("it crashed its decoder (SIGSEGV)", passing=True), b"good"]


def test_what_a_task_raises_is_raised_here(executor: Executor) -> None:
    with pytest.raises(ZeroDivisionError):
        list(executor.map(divmod, [(1, 1), (1, 0)]))


def test_what_is_shared_needs_no_module(executor: Executor) -> None:
    add = executor.share(lambda value: value + 100)
    assert list(executor.map(call, [(add, number) for number in range(5)])) == list(range(100, 105))


def test_few_more_are_begun_than_are_asked_for() -> None:
    begun: list[int] = []
    results = in_order((begun.append(number) or number for number in range(100)), abs, 3)
    assert next(results) == 0
    assert begun == [0, 1, 2, 3]
    assert list(results) == list(range(1, 100))


def test_a_killed_worker_costs_a_retry(cluster: Executor, tmp_path: Path) -> None:
    tasks = [(tmp_path / "flag", number) for number in range(6)]
    assert list(cluster.map(kill_once, tasks)) == list(range(6))
    assert (tmp_path / "flag").exists(), "a worker was killed"


def test_what_is_shared_outlives_the_worker_that_has_it(cluster: Executor, tmp_path: Path) -> None:
    assert list(cluster.map(kill_once, [(tmp_path / "flag", cluster.share(7))])) == [7]
    assert (tmp_path / "flag").exists(), "a worker was killed"


@pytest.mark.full
def test_a_task_that_kills_each_worker_ends_in_one_line(cluster: Executor) -> None:
    with pytest.raises(UserError, match=r"executor: .*kill_always"):
        list(cluster.map(kill_always, [()]))


def test_the_dashboard_is_told_of_and_is_of_this_machine_alone(cluster: Executor, printed: list[str]) -> None:
    found = re.fullmatch(r"Dask at tls://127.0.0.1:(\d+): 2 workers with 2 threads; dashboard (http://\S+)", printed[0])
    assert found, printed
    assert urlopen(found[2]).status == 200
    with socket.socket() as stranger, pytest.raises(OSError):
        stranger.connect((socket.gethostbyname(socket.gethostname()), int(found[1])))
        if socket.gethostbyname(socket.gethostname()).startswith("127."):
            raise OSError("this machine has no other address")


def test_other_code_on_a_worker_is_refused(cluster: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_executor, "_code", lambda: "another")
    with pytest.raises(UserError, match=r"executor: the worker on .* runs other code"):
        list(cluster.map(divmod, [(1, 1)]))


def test_libraries_that_decode_are_asked_for() -> None:
    assert {*radar.LIBRARIES, *video.LIBRARIES, *images.LIBRARIES} <= {*dask_executor.LIBRARIES}


def test_code_that_changes_under_a_worker_is_not_taken_for_what_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr(provenance, "CODE", tmp_path)
    (tmp_path / "pipelines" / "radar").mkdir(parents=True)
    request.addfinalizer(dask_executor._code.cache_clear)

    def code_with(content: str) -> str:
        (tmp_path / "pipelines" / "radar" / "store.py").write_text(content)
        return dask_executor._code()

    dask_executor._code.cache_clear()
    at_first = code_with("one")
    assert code_with("another") == at_first, "of the module that is loaded, whatever another task is about"
    dask_executor._code.cache_clear()
    assert code_with("another") != at_first


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "tls://127.0.0.1:9", "tcp://127.0.0.1:no"])
def test_no_cluster_at_an_address(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_executor, "WAIT_S", 0.5)
    with (
        pytest.raises(Unavailable, match=re.escape(f"executor: no 1 Dask worker(s) at {address}: ")),
        open_executor("dask", address, None, None),
    ):
        pass


def test_radar_has_the_same_bytes_and_outlives_a_killed_worker(
    cluster: Executor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = archive(tmp_path / "in", 40)
    files[20].unlink()
    (tmp_path / "in" / "broken.h5").write_bytes(b"x")
    here = Result(tmp_path / "here").run(tmp_path / "in")
    there = Result(tmp_path / "there")

    class Killing:
        """Kills a worker when the first shard of two is there."""

        decode, share = cluster.decode, cluster.share

        def map(self, function, tasks, at_once=1):
            results = cluster.map(function, tasks)
            yield next(results)
            os.kill(next(cluster.map(os.getpid, [()])), signal.SIGKILL)
            yield from results

    arguments = there.store, there.table, there.quality, PARAMS
    assert ingest_radar(tmp_path / "in", *arguments, executor=Killing()) == 1
    assert there.bytes == here.bytes
    assert there.quality.read_bytes() == here.quality.read_bytes()
    assert there.reasons == here.reasons
    assert len(there.times) == 39


def test_video_has_the_same_bytes(cluster: Executor, tmp_path: Path) -> None:
    for number in range(4):
        video = tmp_path / "raw" / "ab"[number % 2] / f"v_x_g{number}_c1.mkv"
        video_files.write(video, video_files.noise(number, 6 + number))
    (tmp_path / "raw" / "a" / "v_x_g9_c1.mkv").write_bytes(b"x")
    params = video_files.ingest_params(short_side=32, rate=None, min_frames=2)
    for name, executor in (("here", LOCAL), ("there", cluster)):
        folder = tmp_path / name
        assert ingest_video(tmp_path / "raw", folder / "clips.zarr", folder / "quarantine.csv", params, executor) == 1
    assert sha256(tmp_path / "here" / "clips.zarr") == sha256(tmp_path / "there" / "clips.zarr")


def test_images_have_the_same_bytes(cluster: Executor, tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(4)]
    for number, name in enumerate(names):
        image_files.write_picture(tmp_path / "raw" / name, number)
    annotations = [{"image_id": number} for number in range(4)]
    image_files.write_json(tmp_path / "raw" / "x.json", image_files.coco(names, annotations))
    params = image_files.ingest_params()
    for name, executor in (("here", LOCAL), ("there", cluster)):
        folder = tmp_path / name
        assert ingest_images(tmp_path / "raw", folder / "crops.zarr", folder / "quarantine.csv", params, executor) == 0
    assert sha256(tmp_path / "here" / "crops.zarr") == sha256(tmp_path / "there" / "crops.zarr")


@pytest.fixture
def indexed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """Return the parameters of a store in the working directory, with its index."""
    monkeypatch.chdir(tmp_path)
    params = small_params(tmp_path)
    write_archive(Path("radar.zarr"), shape=(32, 32))
    index({"radar": Path("radar.zarr")}, Path("windows.parquet"), params.index)
    return params


def test_the_index_is_the_same(cluster: Executor, indexed: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("there").mkdir()
    monkeypatch.setattr("pipelines.nowcast.wet_areas.FRAMES", 16)  # several tasks
    index({"radar": Path("radar.zarr")}, Path("there", "windows.parquet"), indexed.index, cluster)
    for name in ("windows.parquet", "climatology.json"):
        assert Path("there", name).read_bytes() == Path(name).read_bytes()


@pytest.mark.parametrize(
    "models", [["persistence", "climatology"], pytest.param(["scs", "steps"], marks=pytest.mark.full)], ids=" ".join
)
def test_scores_are_the_same(models: list[str], cluster: Executor, indexed: Params) -> None:
    description = {"method": "network", "inputs": 4, "network": NETWORK, "step_seconds": 300}
    write_model(Path("scs"), description)
    rates = indexed.index.rates
    factories = {model: factory(model, indexed.evaluate, rates, Path("climatology.json")) for model in models}
    times = pd.DataFrame({"store": "radar.zarr", "event": 0, "t0": [0, 2, 14]})
    tables = []
    for name, executor in (("here", LOCAL), ("there", cluster)):
        Path(name).mkdir()
        found = score_methods(
            factories, times, Path(name), index=indexed.index, params=indexed.evaluate, executor=executor
        )
        assert found.fields.keys() == set(models), found.refused
        tables.append(found)
    for kind in ("fields", "probabilities"):
        for model in models:
            pd.testing.assert_frame_equal(*(getattr(found, kind)[model] for found in tables), check_exact=True)
