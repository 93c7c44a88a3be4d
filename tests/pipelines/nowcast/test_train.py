import os
import random
import signal
import subprocess
import sys
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
from pipelines.nowcast.methods.climatology import Climatology
from pipelines.nowcast.methods.description import TrainedOn
from pipelines.nowcast.methods.distribution import ProbabilisticForecaster
from pipelines.nowcast.methods.interface import load_forecaster
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


@pytest.mark.parametrize("name", ["scs_stsgd", "convlstm", "scs_probabilities", "fixed"])
def test_training_learns_and_is_one_run(workplace: Path, name: str) -> None:
    params = small_params(workplace, steps=300, checkpoint_steps=50, learning_rate=0.005)
    params.models["fixed"] = params.models["scs_stsgd"].model_copy(update={"coordinates": "fixed", "steps": 200})
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


def test_a_probabilistic_model_says_its_rates_and_its_climate(workplace: Path) -> None:
    params = small_params(workplace)
    weights = trained(params, "scs_probabilities", workplace / "models" / "scs_probabilities")
    forecaster, description = load_forecaster(workplace / "models" / "scs_probabilities")
    assert isinstance(forecaster, ProbabilisticForecaster)
    assert description.rates == params.index.rates
    assert description.climatology == Climatology.read(Path("climatology.json")).exceedance
    assert description.archives == [TrainedOn(name="radar", license="CC0-1.0")]
    assert weights["exceedance.calibration"].shape == (params.index.leads, len(params.index.rates), 2)
    assert not torch.equal(weights["exceedance.cuts"], torch.full_like(weights["exceedance.cuts"], 0.5))


def test_rates_and_sizes_that_do_not_fit_are_refused_before_the_training(workplace: Path) -> None:
    params = small_params(workplace)
    other = params.index.model_copy(update={"rates": [0.3, *params.index.rates[1:]]})
    with pytest.raises(UserError, match=r"climatology\.json: of other rates than index\.rates"):
        trained(params.model_copy(update={"index": other}), "scs_probabilities", workplace / "other")
    params.models["scs_probabilities"] = params.models["scs_probabilities"].model_copy(update={"downsample": 8})
    with pytest.raises(UserError, match=r"index\.size: 32 pixels aren't divisible by 64"):
        trained(params, "scs_probabilities", workplace / "small")


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


STOPPED = """
import os, runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a job in the background ignores
from pipelines.training.fit import CheckpointAfterValidation
step, number = int(sys.argv.pop(1)), int(sys.argv.pop(1))
def stop(self, trainer, *_):
    if trainer.global_step == step:
        os.kill(os.getpid(), number)
CheckpointAfterValidation.on_train_batch_end = stop
runpy.run_module("pipelines.nowcast.train", run_name="__main__")
"""


def run_training(name: str, out: str, *, stop_at: int = -1, by: int = signal.SIGKILL) -> int:
    """Train in a process of its own, which a signal hits after a step, and give its exit status."""
    command = [sys.executable, "-c", STOPPED, str(stop_at), str(int(by)), name, "windows.parquet", out, f"{out}.json"]
    return subprocess.run(command, check=False, env=os.environ | {"PYTHONPATH": str(ROOT)}).returncode


def test_killed_training_goes_on_to_the_same_weights(workplace: Path) -> None:
    params = small_params(workplace, steps=30, checkpoint_steps=5)
    assert run_training("scs_astsgd", "killed", stop_at=13) == -signal.SIGKILL
    assert list(workplace.glob("data/checkpoints/*/last.ckpt"))
    assert not (workplace / "killed").exists()
    assert run_training("scs_astsgd", "killed") == 0
    run = only_run()
    assert run.info.status == "FINISHED"
    assert_equal(load_file("killed/weights.safetensors"), trained(params, "scs_astsgd", workplace / "models" / "again"))


@pytest.mark.full
@pytest.mark.parametrize("name", ["scs_stsgd", "scs_astsgd", "convlstm"])
def test_training_that_is_stopped_again_and_again_ends_with_the_same_weights(workplace: Path, name: str) -> None:
    """Ctrl-C, SIGTERM and kill -9, each at some step."""
    params = small_params(workplace, steps=240, checkpoint_steps=8)
    draw = random.Random(name)
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]
    draw.shuffle(numbers)
    for first, number in zip((10, 90, 170), numbers, strict=True):
        assert run_training(name, "out", stop_at=first + draw.randrange(60), by=number) != 0
        assert not (workplace / "out").exists()
    assert run_training(name, "out") == 0
    assert only_run().info.status == "FINISHED"
    assert_equal(load_file("out/weights.safetensors"), trained(params, name, workplace / "models" / "again"))


@pytest.mark.parametrize("learning_rate", [1e30, 30.0])
def test_a_loss_that_is_not_finite_or_diverges_ends_in_one_line(workplace: Path, learning_rate: float) -> None:
    params = small_params(workplace, learning_rate=learning_rate)
    with pytest.raises(UserError, match=r"models\.scs: the loss is .* lower train\.learning_rate") as error:
        trained(params, "scs", workplace / "models" / "scs")
    assert "\n" not in str(error.value)
    assert not (workplace / "models" / "scs").exists()
