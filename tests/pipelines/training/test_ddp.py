"""A training that two processes share takes the steps of one."""

import os
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
import torch
from safetensors.torch import load_file
from small_training import ROOT, only_run, small_params
from torch.utils.data import SequentialSampler

from pipelines.common.errors import UserError
from pipelines.nowcast.specification import NAME
from pipelines.training.ddp import DistributedSamplerWrapper, num_nodes, part_of_batch


def run_training(name: str, out: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines.nowcast.train", name, "windows.parquet", out, f"{out}.json"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)


def curve(run_id: str, key: str) -> list[float]:
    return [point.value for point in mlflow.MlflowClient().get_metric_history(run_id, key)]


@pytest.mark.full
def test_two_processes_take_the_steps_of_one(workplace: Path) -> None:
    curves = []
    for devices in (1, 2):
        changes = {"steps": 40, "checkpoint_steps": 10, "validation_windows": 6, "learning_rate": 0.003}
        small_params(workplace, devices=devices, **changes)
        done = run_training("scs", f"by_{devices}")
        assert done.returncode == 0, done.stderr
        run = only_run() if devices == 1 else newest_run()
        assert run.info.status == "FINISHED"
        curves.append((curve(run.info.run_id, "train_loss"), curve(run.info.run_id, "validation_loss")))
    (train_1, validation_1), (train_2, validation_2) = curves
    assert len(train_1) == len(train_2) == 4 and len(validation_1) == len(validation_2) >= 4
    assert train_1[0] != train_1[-1]
    torch.testing.assert_close(torch.tensor(train_2), torch.tensor(train_1), rtol=1e-3, atol=1e-4)
    # which windows share a batch, and so the weights of one, is another matter in validation
    torch.testing.assert_close(torch.tensor(validation_2), torch.tensor(validation_1), rtol=2e-2, atol=1e-3)
    ours, theirs = (load_file(f"by_{devices}/weights.safetensors") for devices in (1, 2))
    for key in ours:
        # Of single weights Adam makes steps of full size from gradients that are rounding alone.
        assert (ours[key] - theirs[key]).abs().mean() < 1e-3


def newest_run() -> mlflow.entities.Run:
    return mlflow.search_runs(
        experiment_names=[NAME], order_by=["attributes.start_time DESC"], max_results=1, output_format="list"
    )[0]


@pytest.mark.full
def test_a_loss_that_is_not_finite_ends_all_processes(workplace: Path) -> None:
    small_params(workplace, devices=2, learning_rate=1e30)
    done = run_training("scs", "never")
    assert done.returncode == 1
    assert "error: models.scs: the loss is" in done.stderr and "Traceback" not in done.stderr
    assert not Path("never").exists()


TWO = """
import os, sys
from torch import distributed
from torch.utils.data import SequentialSampler
from pipelines.training.ddp import DistributedSamplerWrapper

rank = int(os.fork() == 0)
distributed.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=rank, world_size=2)
part = DistributedSamplerWrapper(SequentialSampler(range(7)))
os.write(1, f"{rank}: {len(part)}, {list(part)}\\n".encode())  # in one piece: both write to one pipe
distributed.destroy_process_group()
if rank == 0:
    os.wait()
"""


def test_parts_of_a_sampler_are_the_whole(tmp_path: Path) -> None:
    assert list(DistributedSamplerWrapper(SequentialSampler(range(7)))) == list(range(7))
    command = [sys.executable, "-c", TWO, str(tmp_path / "meet")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=True).stdout
    # The seventh can't be shared, and would leave one waiting.
    assert sorted(said.splitlines()) == ["0: 3, [0, 2, 4]", "1: 3, [1, 3, 5]"]


def test_a_batch_is_shared_evenly_over_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    assert (num_nodes(2), part_of_batch(8, 2)) == (1, 4)
    monkeypatch.setenv("WORLD_SIZE", "4")  # as torchrun says on two machines
    assert (num_nodes(2), part_of_batch(8, 2)) == (2, 2)
    with pytest.raises(UserError, match="batch_size 6 is shared by 4 processes"):
        part_of_batch(6, 2)
