"""Action recognition from clips to the registry: training, evaluation, comparison, registration, `scs recognize`."""

import json
import re
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import REPOSITORY
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner
from video_files import small_store, write_huge

from pipelines import cli
from pipelines.action.compare import difference, interval, write_table
from pipelines.action.compare import main as compare_main
from pipelines.action.evaluate import evaluate_action, rank_of
from pipelines.action.lightning_module import ActionTraining
from pipelines.action.recognizer import ActionRecognizer, load_recognizer, to_input
from pipelines.action.registered_model import recognize
from pipelines.action.scores import WHOLE
from pipelines.action.specification import ACTION
from pipelines.action.train import train_action
from pipelines.common.errors import UserError
from pipelines.params.action import ActionModel, EvaluateAction, TrainAction
from pipelines.params.read import read_params
from pipelines.tracking.best_version import choose_best, register_all
from pipelines.tracking.store import connect
from pipelines.training.results import read_results
from pipelines.video.clips import Clips, open_clips
from scs_model.networks.recognition import Recognizer

SCS = ActionModel.model_validate(
    {
        "cell": "scs",
        "depth": 5,
        "width": 2,
        "switch": {
            "kind": "two_sided",
            "p": 0.5,
            "adaptive": {"fraction": 0.5, "gain": 1.0, "warmup": 2, "smoothing": 0.5},
        },
        "subtasks": {"t1": 0.5, "t2": 0.5},
        "coherence": 10.0,
    }
)
FAST = TrainAction.model_validate(
    {"seed": 1, "steps": 6, "checkpoint_steps": 2, "batch_size": 4, "learning_rate": 0.003, "precision": "float32"}
    | {"frames": 7, "piece": 4, "size": 32}
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_store(tmp_path_factory.mktemp("action"))


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with MLflow's store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    (tmp_path / "dvc.yaml").touch()
    return tmp_path


def write_model(folder: Path, clips: Clips, *, seed: int = 0, subtasks: bool = True) -> ActionRecognizer:
    """An untrained network, as training writes one."""
    torch.manual_seed(seed)
    network = {"cell": "scs", "depth": 5, "width": 2, "subtasks": subtasks}
    folder.mkdir(parents=True)
    save_file(Recognizer(**network, classes=len(clips.classes)).state_dict(), folder / "weights.safetensors")
    said = {"method": "recognizer", "name": folder.name, "network": network, "classes": clips.classes}
    said |= {"size": 32, "short_side": 32, "rate": clips.attributes["rate"], "piece": 4}
    (folder / "model.json").write_text(json.dumps(said))
    return load_recognizer(folder)


def test_an_interrupted_training_goes_on_to_the_same_weights(
    workplace: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_action("whole", store, Path("whole"), Path("whole.json"), model=SCS, params=FAST)
    step = ActionTraining.training_step

    def fail(self: ActionTraining, batch: object, index: int) -> None:
        if self.global_step == 5:
            raise InterruptedError
        step(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(ActionTraining, "training_step", fail)
        with pytest.raises(InterruptedError):
            train_action("cut", store, Path("cut"), Path("cut.json"), model=SCS, params=FAST)
    assert not Path("cut").exists()
    (checkpoint,) = Path("data/checkpoints").glob("action-cut-*/last.ckpt")
    assert torch.load(checkpoint, weights_only=True)["global_step"] == 4
    train_action("cut", store, Path("cut"), Path("cut.json"), model=SCS, params=FAST)
    ours, theirs = load_file("cut/weights.safetensors"), load_file("whole/weights.safetensors")
    assert ours.keys() == theirs.keys()
    for key in ours:
        torch.testing.assert_close(ours[key], theirs[key], rtol=0, atol=0)
    assert json.loads(Path("cut.json").read_text()) == json.loads(Path("whole.json").read_text())

    client = connect(ACTION.name)
    runs = mlflow.search_runs(experiment_names=[ACTION.name], output_format="list")
    assert sorted(run.info.run_name for run in runs) == ["cut", "whole"]  # the interrupted run went on
    cut = next(run for run in runs if run.info.run_name == "cut")
    assert cut.data.tags["switch"] == "ASTSGD two_sided p=0.5"
    assert len(client.get_metric_history(cut.info.run_id, "validation_loss")) >= 3
    assert not list(Path("data/checkpoints").iterdir())


def test_a_training_ends_when_validation_has_not_improved_and_so_does_one_that_was_cut(
    workplace: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = FAST.model_copy(update={"steps": 30, "checkpoint_steps": 1, "learning_rate": 0.1, "patience": 2})
    model = SCS.model_copy(update={"seed": 3})

    def die(*arguments: object) -> None:
        raise InterruptedError

    with monkeypatch.context() as patch:  # after its last validation, before it is written
        patch.setattr("pipelines.training.fit.write_trained", die)
        with pytest.raises(InterruptedError):
            train_action("early", store, Path("early"), Path("early.json"), model=model, params=params)
    train_action("early", store, Path("early"), Path("early.json"), model=model, params=params)
    client = connect(ACTION.name)
    (run,) = mlflow.search_runs(experiment_names=[ACTION.name], output_format="list")
    assert run.data.params["train_action.seed"] == "3", "a model's own seed is the training's"
    *losses, _ = (point.value for point in client.get_metric_history(run.info.run_id, "validation_loss"))
    lowest = int(np.argmin(losses))
    assert len(losses) == lowest + 1 + 2 < 30, (
        "the lowest, two that are no lower, and no step more (the last point of all is the model's)"
    )
    assert losses[-1] > min(losses)
    shown = run.data.metrics["validation_loss"]
    assert json.loads(Path("early.json").read_text())["validation_loss"] == pytest.approx(min(losses)) == shown
    steps = [point.step for point in client.get_metric_history(run.info.run_id, "validation_loss")]
    assert steps == list(range(steps[0], steps[0] + len(losses) + 1)), "none before the first validation"


def test_a_clip_in_pieces_is_the_clip_at_once(store: Path) -> None:
    clips = open_clips(store)
    frames = clips.frames(0)
    recognizer = write_model(Path(store).parent / "formulas", clips)
    by_piece = np.concatenate([said[:, 0].numpy() for said in recognizer.stream(frames)])
    with torch.inference_mode():
        at_once, _ = recognizer.network(to_input(torch.from_numpy(frames).permute(0, 3, 1, 2))[:, None])
    np.testing.assert_allclose(by_piece, at_once[:, 0].numpy(), rtol=1e-4, atol=1e-5)
    probabilities = recognizer.recognize(iter(frames))
    mean = at_once.double().mean((0, 1)).exp()
    assert sum(probabilities.values()) == pytest.approx(1)
    assert list(probabilities.values()) == sorted(probabilities.values(), reverse=True)
    for label, probability in zip(clips.classes, mean / mean.sum(), strict=True):
        assert probabilities[label] == pytest.approx(float(probability), rel=1e-3)


def test_evaluation_counts_what_it_should(workplace: Path, store: Path) -> None:
    clips = open_clips(store)
    recognizer = write_model(Path("m"), clips)
    result, metrics = evaluate_action(recognizer, clips, EvaluateAction(observed=[1, 4, 1000]))
    test = clips.table[clips.table["split"] == "test"]
    assert set(result["stream"]) == {"main", "t1", "t2_probe"}
    main = result[result["stream"] == "main"]
    assert len(main) == 4 * len(test)
    ends = main[main["observed"] == WHOLE].reset_index(drop=True)
    pd.testing.assert_frame_equal(
        ends.drop(columns="observed"), main[main["observed"] == 1000].reset_index(drop=True).drop(columns="observed")
    )
    by_hand = [
        max(recognizer.recognize(clips.frames(i)).items(), key=lambda pair: pair[1])[0]
        == clips.table.loc[i, "label_name"]
        for i in test.index
    ]
    assert metrics["top1"] == pytest.approx(np.mean(by_hand))
    assert 0 < metrics["mean_average_precision"] <= 1
    with pytest.raises(UserError, match="its classes aren't those"):
        description = recognizer.description.model_copy(update={"classes": ["a", "b"]})
        other = ActionRecognizer(recognizer.network, description)
        evaluate_action(other, clips, EvaluateAction(observed=[1]))


def test_rank_and_interval_by_hand() -> None:
    assert [rank_of(np.array([0.1, 0.7, 0.2]), label) for label in range(3)] == [3, 1, 2]
    assert rank_of(np.array([0.5, 0.5]), 0) == 2  # a tie is no recognition
    same = pd.DataFrame({"group": ["a", "a", "b", "b"], "rank": [1, 2, 1, 2]})
    assert interval(same) == (0.5, 0.5, 0.5)  # each group has the same share: nothing varies
    apart = pd.DataFrame({"group": ["a", "a", "b", "b"], "rank": [1, 1, 2, 2]})
    assert interval(apart) == (0.5, 0.0, 1.0)  # one of two groups drawn twice, a quarter of the time
    assert interval(apart, 2)[0] == 1.0
    assert np.isnan(interval(same[:2])[1])


def test_difference_is_paired() -> None:
    clips = {"clip": ["1", "2", "3", "4"], "group": ["a", "a", "b", "b"]}
    one, other = pd.DataFrame(clips | {"rank": [1, 1, 1, 2]}), pd.DataFrame(clips | {"rank": [1, 2, 2, 2]})
    # Each group gains one of two clips, however many each network has right: nothing varies.
    assert difference(one, other) == (0.5, 0.5, 0.5)
    assert difference(other[::-1], one) == (-0.5, -0.5, -0.5)  # rows in any order
    assert np.isnan(difference(one[:2], other[:2])[1])


def test_comparison_registration_and_recognition(
    workplace: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = open_clips(store)
    params = (REPOSITORY / "params.yaml").read_text()
    Path("params.yaml").write_text(params)
    names = list(read_params().action_models)[:2]
    for seed, name in enumerate(names):
        result, metrics = evaluate_action(
            write_model(Path("models") / name, clips, seed=seed, subtasks=seed == 0),
            clips,
            EvaluateAction(observed=[1, 4]),
        )
        for folder in ("scores", "metrics"):
            Path(folder).mkdir(exist_ok=True)
        result.to_parquet(f"scores/{name}.parquet")
        Path(f"metrics/{name}.json").write_text(json.dumps(metrics | {"top1": float(seed)}))
    with pytest.raises(UserError, match=r"trained_action: .* has no scores"):
        compare_main(Path("scores"), Path("metrics"), Path("out"))
    results = read_results("action", Path("scores"), Path("metrics"), names)
    write_table(results, Path("out/table.md"), Path("out/table.json"))
    table = Path("out/table.md").read_text()
    assert all(f"| {name} |" in table for name in names)
    assert all(f"| {label} |" in table for label in clips.classes)

    scores = {name: metrics for name, (_, metrics) in results.items()}
    made = register_all(ACTION, scores, Path("models"))
    again = register_all(ACTION, scores, Path("models"))
    assert [version.number for version in made.values()] == ["1", "2"] == [v.number for v in again.values()]
    assert not any(version.new for version in again.values())
    assert choose_best(ACTION, scores, made, "top1") == names[1]

    frames = clips.frames(0)
    said = mlflow.pyfunc.load_model("models:/action-recognition@champion").predict(frames)
    ours = load_recognizer(Path("models") / names[1]).recognize(frames)
    assert dict(zip(said["class"], said["probability"], strict=True)) == pytest.approx(ours)
    files = [
        p for p in Path(mlflow.artifacts.download_artifacts("models:/action-recognition/2")).rglob("*") if p.is_file()
    ]
    assert not any(path.suffix in {".pkl", ".pickle", ".pt", ".pth"} for path in files)

    (video,) = list(Path(store).parent.rglob(Path(clips.table["source"][0]).name))
    capsys.readouterr()
    done = CliRunner().invoke(cli.app, ["recognize", str(video)])
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0].endswith(f"by {names[1]}, version 2")
    assert [line.split()[1] for line in lines[1:]] == list(ours)[:5]

    Path("params.yaml").write_text(re.sub(r"max_memory_mb: \d+", "max_memory_mb: 1024", params))
    hls = Path("list.mp4")
    hls.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{video}\n#EXT-X-ENDLIST\n")
    for clip, words in (
        (write_huge(Path("huge.mov")), "too large: it takes more than 1024 MB of memory to decode (max_memory_mb)"),
        (hls, "no video that can be decoded: "),
    ):
        refusal = CliRunner().invoke(cli.app, ["recognize", str(clip)]).exception
        assert isinstance(refusal, UserError)
        assert str(refusal).startswith(f"{clip}: {words}")
    Path("params.yaml").unlink()
    assert CliRunner().invoke(cli.app, ["recognize", str(video)]).output == done.output

    (weights,) = (path for path in files if path.name == "weights.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    for refused in (
        lambda: recognize(video, "models:/action-recognition@champion"),
        lambda: choose_best(ACTION, scores, made, "top1"),
    ):
        with pytest.raises(UserError, match="models:/action-recognition/2: changed since it was registered"):
            refused()


def test_refusals(workplace: Path, store: Path) -> None:
    clips = open_clips(store)
    recognizer = write_model(Path("m"), clips)
    with pytest.raises(UserError, match="no frame"):
        recognizer.recognize([])
    with pytest.raises(UserError, match=r"uint8 \(H, W, 3\)"):
        recognizer.recognize(np.zeros((2, 32, 32, 3), np.float32))
    (Path("m") / "weights.safetensors").write_bytes(b"x")
    with pytest.raises(UserError, match=r"weights\.safetensors"):
        load_recognizer(Path("m"))
    (Path("m") / "model.json").write_text("{}")
    with pytest.raises(UserError, match="not a model's description: method: missing"):
        load_recognizer(Path("m"))
    with pytest.raises(UserError, match=r"action_models\.bad: the loss is .* lower train_action\.learning_rate"):
        params = FAST.model_copy(update={"learning_rate": 1e30})
        train_action("bad", store, Path("bad"), Path("bad.json"), model=SCS, params=params)
