"""Auto-driving from a store to the registry: training, evaluation, comparison, registration, `scs steer`."""

import csv
import json
from copy import deepcopy
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import REPOSITORY
from driving_files import grey, ingest_params, small_simulation, write_comma, write_livi, write_picture, write_tub
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner
from video_files import noise, write

from pipelines import cli
from pipelines.common.errors import UserError
from pipelines.common.limits import Limits
from pipelines.driving.compare import main as compare_main
from pipelines.driving.drives import Drives, open_drives
from pipelines.driving.evaluate import evaluate_driving
from pipelines.driving.evaluate import main as evaluate_main
from pipelines.driving.figures import draw_streams
from pipelines.driving.ingest import ingest_drives
from pipelines.driving.lightning_module import DrivingTraining
from pipelines.driving.register import main as register_main
from pipelines.driving.scores import accuracy, angle_scores, baselines, change, difference
from pipelines.driving.simulate import simulate_drives
from pipelines.driving.specification import STEERING
from pipelines.driving.steer import read_source, thin
from pipelines.driving.steering import Steering, load_steering
from pipelines.driving.train import train_driving
from pipelines.driving.view import fit
from pipelines.params.driving import DrivingModel, EvaluateDriving, Tolerances, TrainDriving
from pipelines.params.read import read_params
from pipelines.tracking.store import connect
from pipelines.video.samples import to_input
from scs_model.networks.regression import Regressor

ADAPTIVE = {"fraction": 0.5, "gain": 1.0, "warmup": 2, "smoothing": 0.5}
SCS = DrivingModel.model_validate(
    {"cell": "scs", "depth": 5, "width": 2, "columns": 3, "frames": 4, "subtasks": {"t1": 0.5, "t2": 0.5}}
    | {"switch": {"kind": "two_sided", "p": 0.5, "adaptive": ADAPTIVE}}
)
FAST = TrainDriving.model_validate(
    {"seed": 1, "steps": 6, "checkpoint_steps": 2, "batch_size": 4, "learning_rate": 0.003, "precision": "float32"}
    | {"ahead_s": 0.0, "mirror": True}
)
DEGREES = Tolerances(within=[1.0, 2.0], headline=2.0, curved=10.0)
SCORED = EvaluateDriving(history=6, degrees=DEGREES, share=Tolerances(within=[0.05], headline=0.05, curved=0.1))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("driving")
    simulate_drives(folder / "raw", small_simulation())
    ingest_drives(folder / "raw", folder / "drives.zarr", folder / "q.csv", ingest_params())
    return folder / "drives.zarr"


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with MLflow's store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    (tmp_path / "dvc.yaml").touch()
    return tmp_path


def write_model(folder: Path, *, seed: int = 0, cell: str = "scs", frames: int = 4, **changes: object) -> Steering:
    """An untrained network, as training writes one."""
    torch.manual_seed(seed)
    network = {"cell": cell, "depth": 5, "width": 2, "columns": 3, "subtasks": cell == "scs"}
    folder.mkdir(parents=True)
    save_file(Regressor(**network, outputs=1).state_dict(), folder / "weights.safetensors")
    about = {"method": "steering", "name": folder.name, "network": network, "frames": frames, "rate": 10.0}
    about |= {"ahead_s": 0.0, "unit": "degrees", "scale": 20.0, "height": 32, "width": 96} | changes
    (folder / "model.json").write_text(json.dumps(about))
    return load_steering(folder)


def test_an_interrupted_training_goes_on_to_the_same_weights(
    workplace: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_driving("whole", store, Path("whole"), Path("whole.json"), model=SCS, params=FAST)
    step = DrivingTraining.training_step

    def fail(self: DrivingTraining, batch: object, index: int) -> torch.Tensor:
        if self.global_step == 5:
            raise InterruptedError
        return step(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(DrivingTraining, "training_step", fail)
        with pytest.raises(InterruptedError):
            train_driving("cut", store, Path("cut"), Path("cut.json"), model=SCS, params=FAST)
    assert not Path("cut").exists()
    train_driving("cut", store, Path("cut"), Path("cut.json"), model=SCS, params=FAST)
    ours, theirs = load_file("cut/weights.safetensors"), load_file("whole/weights.safetensors")
    assert ours.keys() == theirs.keys()
    for key in ours:
        torch.testing.assert_close(ours[key], theirs[key], rtol=0, atol=0)
    about = load_steering(Path("cut")).description
    drives = open_drives(store)
    assert about.scale == pytest.approx(drives.rows["angle"][drives.rows["split"] == 0].std(ddof=0))
    assert (about.unit, about.frames, about.rate, about.height, about.width) == ("degrees", 4, 10.0, 32, 96)
    client = connect(STEERING.name)
    cut = next(
        run for run in mlflow.search_runs(experiment_names=[STEERING.name], output_format="list")
        if run.info.run_name == "cut"
    )  # fmt: skip
    assert cut.data.tags["switch"] == "ASTSGD two_sided p=0.5"
    assert len(client.get_metric_history(cut.info.run_id, "validation_loss")) >= 3
    with pytest.raises(UserError, match="this network wants multiples of 32"):
        odd = store.parent / "odd.zarr"
        ingest_drives(store.parent / "raw", odd, store.parent / "q2.csv", ingest_params(height=36))
        train_driving("odd", odd, Path("odd"), Path("odd.json"), model=SCS, params=FAST)


def test_the_loss_is_what_it_says(store: Path) -> None:
    """The mean absolute error of the second half of the frames, T¹'s and the flow's beside it, by their weights."""
    model = SCS.model_copy(update={"switch": SCS.switch.model_copy(update={"kind": "off", "adaptive": None, "p": 0.0})})
    torch.manual_seed(1)
    training = DrivingTraining(Regressor(**model.network, outputs=1), model, FAST, scale=5.0)
    logged: dict[str, float] = {}
    training.log = lambda name, value, **_: logged.update({name: float(value.detach())})
    training.log_dict = lambda values: [training.log(*pair) for pair in values.items()]
    training._trainer = type("T", (), {"global_step": 0, "global_rank": 0, "lightning_module": None})()
    rng = np.random.default_rng(1)
    frames = torch.from_numpy(rng.integers(0, 256, (2, 4, 3, 32, 96)).astype(np.uint8))
    angles, flow = torch.arange(8.0).reshape(2, 4), torch.from_numpy(rng.normal(size=(2, 3, 2, 8, 24))).float()
    network = deepcopy(training.network)  # whose running statistics, which T² is normalised by, are those of before
    loss = float(training.training_step((frames, angles, flow), 0).detach())
    output, _ = network(to_input(frames).transpose(0, 1), with_subtasks=True)
    by_hand = [(stream[2:, :, 0] - angles.T[2:] / 5).abs().mean().item() for stream in (output.main, output.spatial)]
    errors = []
    for said in output.flows:
        cells = 24 // said.shape[-1]
        target = flow.unflatten(-1, (-1, cells)).unflatten(-3, (-1, cells)).mean((-1, -3)).transpose(0, 1)
        errors.append((said[1:] - target / target.square().mean().sqrt()).square().mean().item())
    assert logged["train_loss"] == pytest.approx(by_hand[0], rel=1e-4)
    assert logged["t1_loss"] == pytest.approx(by_hand[1], rel=1e-4)
    assert loss == pytest.approx(by_hand[0] + 0.5 * by_hand[1] + 0.5 * np.mean(errors), rel=1e-3)


def test_a_stream_is_its_windows(workplace: Path, store: Path) -> None:
    """After each frame what the network says of the window that ends there, run by itself; a gap begins anew."""
    steering, frames = write_model(Path("m")), open_drives(store).frames(0, 30)
    given = [*frames[:25], None, *frames[25:]]
    said = list(steering.steer(iter(given)))
    assert len(said) == 31
    assert np.isnan(said[25])
    for i, first in [(0, 0), (2, 0), (3, 0), (11, 8), (24, 21), (26, 26), (28, 26)]:
        window = torch.from_numpy(np.stack(given[first : i + 1]))[:, None].permute(0, 1, 4, 2, 3)
        with torch.inference_mode():
            by_itself = float(steering.network(to_input(window))[0][-1, 0, 0]) * 20.0
        assert said[i] == pytest.approx(by_itself, rel=1e-3, abs=1e-3)
    large = np.kron(frames[:3], np.ones((1, 4, 4, 1))).astype(np.uint8)
    assert list(steering.steer(large)) == pytest.approx(said[:3], abs=0.05)
    with pytest.raises(UserError, match=r"uint8 \(H, W, 3\)"):
        list(steering.steer(np.zeros((2, 32, 32, 3), np.float32)))


def test_evaluation_counts_what_it_should(workplace: Path, store: Path) -> None:
    drives, steering = open_drives(store), write_model(Path("m"))
    result, scores = evaluate_driving(steering, drives, SCORED)
    test = drives.rows[drives.rows["split"] == 2]
    assert len(result) == len(test) - 6 * test["session"].nunique()
    for _, row in result.iloc[[0, 9, -1]].iterrows():
        at = int(row["frame"])
        assert row["angle"] == pytest.approx(float(drives.rows["angle"][at]))
        assert row["last_known"] == pytest.approx(float(drives.rows["angle"][at - 4]))
        said = list(steering.steer(drives.frames(at - 3, 4)))[-1]
        assert row["main"] == pytest.approx(said, abs=1e-3)
        hidden = drives.rows["hidden"][at] == 1
        assert row["road"] == ("hidden" if hidden else "curved" if abs(row["angle"]) >= 10 else "straight")
    assert set(result["session"]) <= set(drives.sessions["name"])
    assert scores["mae"] == pytest.approx((result["main"] - result["angle"]).abs().mean())
    assert {"t1_mae", "t2_probe_mae", "accuracy_2", "t2_probe_accuracy_1"} <= scores.keys()
    later = write_model(Path("later"), ahead_s=0.5)
    result, _ = evaluate_driving(later, drives, SCORED)
    row = result.iloc[3]
    assert row["angle"] == pytest.approx(float(drives.rows["angle"][int(row["frame"]) + 5]))
    assert row["last_known"] == pytest.approx(float(drives.rows["angle"][int(row["frame"])]))
    with pytest.raises(UserError, match="not of the unit, size and rate"):
        evaluate_driving(write_model(Path("other"), unit="share of full lock"), drives, SCORED)
    with pytest.raises(UserError, match="history 6: long has 9 frames"):
        evaluate_driving(write_model(Path("long"), frames=9), drives, SCORED)


def test_scores_by_hand() -> None:
    rows = {"angle": [0.0, 0.0, 20.0, 20.0], "main": [1.0, 3.0, 20.5, 26.0], "group": ["a", "a", "b", "b"]}
    rows |= {"road": ["straight", "straight", "curved", "hidden"], "sequence": [0, 0, 1, 1], "frame": [0, 1, 5, 6]}
    result = pd.DataFrame(rows | {"mean_angle": 10.0, "last_known": [0.0, 0.0, 0.0, 20.0]})
    scores = angle_scores(result, "main", DEGREES)
    assert scores["accuracy_1"] == 0.5
    assert scores["accuracy"] == scores["accuracy_2"] == 0.5
    assert scores["mae"] == pytest.approx((1 + 3 + 0.5 + 6) / 4)
    assert scores["rmse"] == pytest.approx(np.sqrt((1 + 9 + 0.25 + 36) / 4))
    assert scores["change"] == pytest.approx((2 + 5.5) / 2)  # not from one sequence to the next
    assert change(result, "angle") == 0
    assert [scores[f"accuracy_{road}"] for road in ("straight", "curved", "hidden")] == [0.5, 1.0, 0.0]
    assert accuracy(result, "main", 2.0) == (0.5, 0.5, 0.5)  # each group has the same share: nothing varies
    known = baselines({"m": result}, {"m": SCS})
    assert list(known) == ["mean angle", "last known angle, 4 frames"]
    assert accuracy(known["last known angle, 4 frames"], "main", 2.0) == (0.75, 0.5, 1.0)
    assert difference(result, known["last known angle, 4 frames"], 2.0) == (-0.25, -0.5, 0.0)


def test_streams_are_drawn_beside_their_own_network(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {"angle": [0.0, 20.0], "main": [0.0, 0.0], "group": ["a", "b"], "road": ["straight", "curved"]}
    plain = pd.DataFrame(rows)
    drawn = []
    monkeypatch.setattr("pipelines.driving.figures._save", lambda figure, path: drawn.append(figure))
    draw_streams({"cnn": plain, "scs": plain.assign(t1=[0.0, 20.0])}, 2.0, Path("streams.png"))
    curved = drawn[0].axes[1]
    assert curved.get_title() == "curved"
    points = [tuple(line.get_xydata()[0]) for line in curved.get_lines() if len(line.get_xydata()) == 1]
    assert points == [pytest.approx((1.0, 1.2))]  # of T¹, the second network's
    assert [tuple(point) for line in curved.get_lines() for point in line.get_xydata()][:2] == [(0.0, 0.0), (0.0, 1.0)]


def steered(*arguments: str) -> tuple[list[dict[str, str]], str]:
    done = CliRunner().invoke(cli.app, ["steer", *arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    out = Path("angles.csv").read_text() if "--out" in arguments else done.stdout
    return list(csv.DictReader(line for line in out.splitlines() if "rows," not in line)), done.output


def test_comparison_registration_and_steering(workplace: Path, store: Path) -> None:
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    params["trained_driving"] = ["cnn_drive", "scs_drive"]
    params["evaluate_driving"]["history"] = 6
    for name in params["trained_driving"]:
        params["driving_models"][name]["frames"] = 4
    Path("params.yaml").write_text(yaml.safe_dump(params))
    with pytest.raises(UserError, match=r"trained_driving: .* has no scores: dvc repro evaluate_driving@cnn_drive"):
        compare_main(Path("scores"), Path("metrics"), store, Path("out"))
    for seed, (name, cell) in enumerate([("cnn_drive", "cnn"), ("scs_drive", "scs")]):
        write_model(Path("models") / name, seed=seed, cell=cell)
        files = Path(f"scores/{name}.parquet"), Path(f"examples/{name}.png"), Path(f"metrics/{name}.json")
        evaluate_main(Path("models") / name, store, *files)
        files[2].write_text(json.dumps(json.loads(files[2].read_text()) | {"accuracy": float(seed)}))
        assert files[1].stat().st_size > 10_000
    compare_main(Path("scores"), Path("metrics"), store, Path("comparison"))
    table = Path("comparison/table.md").read_text()
    for name in ("cnn_drive", "scs_drive", "mean angle", "last known angle, 4 frames"):
        assert f"| {name} |" in table
    assert "| scs_drive | T², a probe on the temporal stream |" in table
    assert {path.name for path in Path("comparison").glob("*.png")} == {
        "tolerances.png", "streams.png", "lengths.png", "over_time.png",
    }  # fmt: skip
    for _ in range(2):
        register_main(Path("scores"), Path("metrics"), Path("models"))
    assert len(connect(STEERING.name).search_model_versions("name = 'steering-angle'")) == 2
    frames = open_drives(store).frames(0, 6)
    said = mlflow.pyfunc.load_model("models:/steering-angle@champion").predict(frames)["angle"].tolist()
    ours = list(load_steering(Path("models/scs_drive")).steer(frames))
    assert said == pytest.approx(ours)
    _steers_every_kind_of_source(load_steering(Path("models/scs_drive")), store)


def _steers_every_kind_of_source(steering: Steering, store: Path) -> None:
    drives: Drives = open_drives(store)
    drive = store.parent / "raw" / str(drives.sessions["name"][0])
    rows, words = steered(str(drive), "--out", "angles.csv")
    assert "30 rows, degrees, by scs_drive, version 2" in words
    assert [row["frame"] for row in rows] == [str(k) for k in range(30)]
    assert [float(row["time_s"]) for row in rows] == pytest.approx(np.arange(30) / 10)
    stored = list(steering.steer(drives.frames(0, 30)))
    assert [float(row["angle"]) for row in rows] == pytest.approx(stored, abs=1e-3)

    frames = np.stack(noise(1, 40, 64, 96))
    rows, _ = steered(str(write_comma(Path("comma"), frames, [0], [1.0])))  # its log is of no use, and isn't asked for
    assert len(rows) == 20  # ten of twenty a second
    expected = list(steering.steer(fit(frame, 32, 96) for frame in frames[::2]))
    assert [float(row["angle"]) for row in rows] == pytest.approx(expected, abs=1e-3)

    write_tub(Path("tub"), [0.0] * 40, deleted=[30])
    (Path("tub") / "images" / "10_cam_image_array_.jpg").write_bytes(b"nothing")
    rows, words = steered("tub")
    assert 19 <= len(rows) <= 21
    assert [row["angle"] for row in rows].count("") == 1
    assert "1 without an angle" in words

    write(Path("drive.mp4"), noise(3, 60, 96, 160), rate=30, codec="mpeg4")
    rows, _ = steered("drive.mp4")
    assert len(rows) == 20
    for name, content, reason in (
        ("cut.h5", b"\x89HDF\r\n\x1a\n", "cut.h5: "),
        ("cut.mp4", b"x", "no video that can be"),
    ):
        Path(name).write_bytes(content)
        with pytest.raises(UserError, match=reason):
            steered(name, "--out", "none.csv")
    assert not Path("none.csv").exists()
    with pytest.raises(UserError, match="gone: no such file"):
        steered("gone")
    Path("empty").mkdir()
    write_picture(Path("empty/0.txt"), grey(1))
    with pytest.raises(UserError, match="no picture in it"):
        steered("empty")
    assert read_params().trained_driving


def test_a_drive_of_pictures_has_gaps_and_broken_frames_as_others_have(tmp_path: Path) -> None:
    """Of LiVi-Set: what isn't there is a gap at its time, and what can't be read costs one angle, not the rest."""
    steering = write_model(tmp_path / "m")
    write_livi(tmp_path / "d", [(float(k), 30.0) for k in range(20)])
    for k in range(8, 16):
        (tmp_path / "d" / "dvr_66x200" / f"{k}.jpg").unlink()
    (tmp_path / "d" / "dvr_66x200" / "3.jpg").write_bytes(b"nothing")
    frames = list(read_source(tmp_path / "d", steering.description, 10.0, Limits()))
    assert [frame and round(10 * frame.time) for frame in frames] == [None, *range(8), None, *range(16, 20)]
    assert [frame.number for frame in frames if frame and frame.image is None] == [3]


@pytest.mark.parametrize("rate", [1.0, None])
def test_frames_that_are_a_second_apart_follow_one_another(tmp_path: Path, rate: float | None) -> None:
    """Where that is how the drive is; the one that three are missing before begins anew."""
    steering = write_model(tmp_path / "m", rate=rate)
    write_tub(tmp_path / "tub", [0.0] * 12, rate=1.0, deleted=[6, 7, 8])
    frames = list(read_source(tmp_path / "tub", steering.description, 10.0, Limits()))
    assert [frame and round(frame.time) for frame in frames] == [None, *range(6), None, 9, 10, 11]


def test_what_has_fewer_frames_a_second_than_a_network_knows_is_refused(tmp_path: Path) -> None:
    steering = write_model(tmp_path / "m")
    write_tub(tmp_path / "tub", [0.0] * 20, rate=5.0)
    write_livi(tmp_path / "d", [(float(k), 30.0) for k in range(20)])
    write(tmp_path / "slow.mp4", noise(3, 20, 96, 160), rate=5, codec="mpeg4")
    for source in ("tub", "d", "d/dvr_66x200", "slow.mp4"):
        with pytest.raises(UserError, match="it has 5 frames a second, and rate is 10"):
            list(read_source(tmp_path / source, steering.description, 5.0, Limits()))


def test_frames_are_thinned_as_they_come() -> None:
    timed = [(0.05 * k, k) for k in range(8)] + [(9 + 0.05 * k, 10 + k) for k in range(3)]
    assert [(picture, follows) for _, picture, follows in thin(timed, 10.0)] == [
        (0, False), (2, True), (4, True), (6, True), (10, False), (12, True),
    ]  # fmt: skip
    assert len(list(thin(timed, None))) == 11
    assert [picture for _, picture, _ in thin([(k / 30, k) for k in range(31)], 10.0)] == list(range(0, 31, 3))
