import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest
import torch
from archive import write_archive
from safetensors.torch import load_file
from small_training import ROOT, only_run, small_params

from pipelines.common.errors import UserError
from pipelines.common.provenance import sha256
from pipelines.nowcast.index import index
from pipelines.nowcast.train import train
from pipelines.params.read import Params


def trained(params: Params, name: str, folder: Path) -> dict[str, torch.Tensor]:
    """Train in this process and give the weights."""
    train(
        name,
        Path("windows.parquet"),
        folder,
        folder.with_suffix(".json"),
        model=params.models[name],
        params=params.train,
        index=params.index,
    )
    return load_file(folder / "weights.safetensors")


def assert_equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for key in a:
        torch.testing.assert_close(a[key], b[key], rtol=0, atol=0)


@pytest.mark.parametrize("name", ["scs_stsgd", "convlstm"])
def test_training_learns_and_is_one_run(workplace: Path, name: str) -> None:
    params = small_params(workplace, steps=300, checkpoint_steps=50, learning_rate=0.005)
    write_archive(workplace / "radar.zarr", shape=(32, 32), growth=0.1)
    index({"radar": Path("radar.zarr")}, Path("windows.parquet"), params.index)
    trained(params, name, workplace / "models" / name)
    run = only_run()
    assert run.info.status == "FINISHED"
    assert run.data.params["train.seed"] == str(params.train.seed)
    assert run.data.params["model.cell"] == params.models[name].cell
    assert run.data.tags["model_sha256"] == sha256(workplace / "models" / name)
    assert {"code_commit", "data_sha256", "dvc_md5.store"} <= run.data.tags.keys()
    assert run.inputs.dataset_inputs[0].dataset.name == "windows"
    client = mlflow.MlflowClient()
    losses = [point.value for point in client.get_metric_history(run.info.run_id, "validation_loss")]
    assert len(losses) >= 4
    assert min(losses) < losses[0]
    assert run.data.metrics["training_seconds"] > 0
    assert not list((workplace / "data" / "checkpoints").iterdir())


def test_same_seed_same_weights_other_seed_others(workplace: Path) -> None:
    first = trained(small_params(workplace), "scs", workplace / "models" / "first")
    again = trained(small_params(workplace), "scs", workplace / "models" / "again")
    other = trained(small_params(workplace, seed=2), "scs", workplace / "models" / "other")
    assert_equal(first, again)
    assert any(not torch.equal(first[key], other[key]) for key in first)
    params = small_params(workplace, steps=99)
    params.models["scs"] = params.models["scs"].model_copy(update={"steps": 12, "seed": 2})
    assert_equal(other, trained(params, "scs", workplace / "models" / "own"))


def test_a_training_shorter_than_a_checkpoint_is_validated_too(workplace: Path) -> None:
    trained(small_params(workplace, steps=2, checkpoint_steps=50), "scs", workplace / "short")
    assert only_run().data.metrics["validation_loss"] > 0


def test_killed_training_goes_on_to_the_same_weights(workplace: Path) -> None:
    params = small_params(workplace, steps=60, checkpoint_steps=5)
    command = [
        sys.executable,
        "-m",
        "pipelines.nowcast.train",
        "scs_astsgd",
        "windows.parquet",
        "killed",
        "killed.json",
    ]
    process = subprocess.Popen(command, start_new_session=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    for _ in range(1200):
        if list(workplace.glob("data/checkpoints/*/last.ckpt")):
            break
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (workplace / "killed").exists()
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    run = only_run()
    assert run.info.status == "FINISHED"
    assert_equal(load_file("killed/weights.safetensors"), trained(params, "scs_astsgd", workplace / "models" / "again"))


@pytest.mark.full
@pytest.mark.parametrize("name", ["scs_stsgd", "scs_astsgd", "convlstm"])
def test_training_that_is_stopped_again_and_again_ends_with_the_same_weights(workplace: Path, name: str) -> None:
    """Ctrl-C, SIGTERM and kill -9, each at a random step."""
    params = small_params(workplace, steps=240, checkpoint_steps=8)
    command = [
        sys.executable,
        "-m",
        "pipelines.nowcast.train",
        name,
        "windows.parquet",
        "out",
        "out.json",
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    seed = random.randrange(1000)
    print(f"seed {seed}")
    draw = random.Random(seed)
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]
    draw.shuffle(numbers)
    for number in numbers:
        before = {path: path.stat().st_mtime_ns for path in workplace.glob("data/checkpoints/*/last.ckpt")}
        with subprocess.Popen(command, start_new_session=True, env=environment) as process:
            while {path: path.stat().st_mtime_ns for path in workplace.glob("data/checkpoints/*/last.ckpt")} == before:
                assert process.poll() is None
                time.sleep(0.02)
            time.sleep(draw.uniform(0, 1))
            os.killpg(process.pid, number)
            assert process.wait(60) != 0
        assert not (workplace / "out").exists()
    subprocess.run(command, check=True, env=environment)
    assert only_run().info.status == "FINISHED"
    assert_equal(load_file("out/weights.safetensors"), trained(params, name, workplace / "models" / "again"))


@pytest.mark.parametrize("learning_rate", [1e30, 30.0])
def test_a_loss_that_is_not_finite_or_diverges_ends_in_one_line(workplace: Path, learning_rate: float) -> None:
    params = small_params(workplace, learning_rate=learning_rate)
    with pytest.raises(UserError, match=r"models\.scs: the loss is .* lower train\.learning_rate") as error:
        trained(params, "scs", workplace / "models" / "scs")
    assert "\n" not in str(error.value)
    assert not (workplace / "models" / "scs").exists()
