"""Outline annotation from crops to the registry: training, evaluation, comparison, registration."""

import json
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import REPOSITORY
from outline_files import NETWORK, draw, small_crops, write_outline_model
from safetensors.torch import load_file, save_file

from pipelines.common.errors import UserError
from pipelines.outline.annotator import STARTS, load_annotator
from pipelines.outline.compare import difference, interval
from pipelines.outline.compare import main as compare_main
from pipelines.outline.evaluate import BASELINES, GRID_LIMIT, POLYGON, evaluate_outline
from pipelines.outline.lightning_module import OutlineTraining, divergence, spread, targets_of
from pipelines.outline.register import main as register_main
from pipelines.outline.samples import OutlineSamples, collate
from pipelines.outline.scores import iou, mask_of, to_mask
from pipelines.outline.train import train_outline
from pipelines.params.outline import EvaluateOutline, OutlineModel, TrainOutline
from pipelines.tracking.store import connect
from scs_model.networks.outline import NONE, OutlineNetwork

ADAPTIVE = {"fraction": 0.5, "gain": 1.0, "warmup": 2, "smoothing": 0.5}
SCS = OutlineModel.model_validate(
    NETWORK | {"switch": {"kind": "two_sided", "p": 0.5, "adaptive": ADAPTIVE}, "subtasks": {"t1": 0.5, "t2": 0.5}}
)
FAST = TrainOutline.model_validate(
    {"seed": 1, "steps": 6, "checkpoint_steps": 2, "batch_size": 4, "learning_rate": 0.003, "precision": "float32"}
    | {"max_vertices": 12}
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_crops(tmp_path_factory.mktemp("outline")).path


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with MLflow's store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    (tmp_path / "dvc.yaml").touch()
    return tmp_path


def train(name: str, store: Path, model: OutlineModel = SCS, params: TrainOutline = FAST) -> None:
    train_outline(name, store, Path(name), Path(f"{name}.json"), Path(f"{name}.csv"), model=model, params=params)


def test_an_interrupted_training_goes_on_to_the_same_weights(
    workplace: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train("whole", store)
    step = OutlineTraining.training_step

    def fail(self: OutlineTraining, batch: object, index: int) -> torch.Tensor:
        if self.global_step == 5:
            raise InterruptedError
        return step(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(OutlineTraining, "training_step", fail)
        with pytest.raises(InterruptedError):
            train("cut", store)
    assert not Path("cut").exists()
    train("cut", store)
    ours, theirs = load_file("cut/weights.safetensors"), load_file("whole/weights.safetensors")
    assert ours.keys() == theirs.keys() == OutlineNetwork(**NETWORK).state_dict().keys()  # no subtask's head
    for key in ours:
        torch.testing.assert_close(ours[key], theirs[key], rtol=0, atol=0)
    assert Path("cut.json").read_text() == Path("whole.json").read_text()
    curve = pd.read_csv("cut.csv")
    assert curve["step"].tolist() == [2, 4, 6]
    pd.testing.assert_frame_equal(curve, pd.read_csv("whole.csv"))
    assert curve["validation_loss"].min() == pytest.approx(json.loads(Path("cut.json").read_text())["validation_loss"])
    (run,) = mlflow.search_runs(
        experiment_names=["outline-annotation"], filter_string="tags.model = 'cut'", output_format="list"
    )
    assert run.data.tags["switch"] == "ASTSGD two_sided p=0.5"
    assert load_annotator(Path("cut")).description.classes == ["ell", "square"]


def test_a_known_encoder_is_where_training_begins(workplace: Path, store: Path) -> None:
    torch.manual_seed(7)
    weights = OutlineNetwork(**NETWORK).encoder.state_dict()
    torch.save(weights | {"fc.weight": torch.zeros(1000, 16)}, "resnet.pth")
    still = FAST.model_copy(update={"learning_rate": 1e-12, "steps": 1})
    train("known", store, SCS.model_copy(update={"encoder_weights": "resnet.pth"}), still)
    trained = load_file("known/weights.safetensors")
    torch.testing.assert_close(trained["encoder.layer3.0.conv2.weight"], weights["layer3.0.conv2.weight"])
    torch.save({"conv1.weight": torch.zeros(1)}, "other.pth")
    Path("broken.pth").write_bytes(b"PK\3\4")
    for file in ("other.pth", "broken.pth", "none.pth"):
        with pytest.raises(UserError, match=rf"outline_models\.m\.encoder_weights: {file}: "):
            train("m", store, SCS.model_copy(update={"encoder_weights": file}))


def test_a_decoder_without_residual_lines_stays_one(workplace: Path, store: Path) -> None:
    train("plain", store, OutlineModel.model_validate(NETWORK | {"switch": {"kind": "off"}, "residual": False}))
    assert not load_annotator(Path("plain")).network.decoder.residual
    file = Path("plain/model.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), "network": NETWORK}))  # as before there was a choice
    assert load_annotator(Path("plain")).network.decoder.residual


def test_targets_by_hand() -> None:
    """A triangle, and a square beside it in the batch."""
    triangle = torch.tensor([[2.5, 2.5], [6.5, 2.5], [2.5, 6.5], [torch.nan, torch.nan]])
    square = torch.tensor([[1.5, 1.5], [3.5, 1.5], [3.5, 3.5], [1.5, 3.5]])
    targets = targets_of(torch.stack([triangle, square]))
    cells = [2 * 28 + 2, 2 * 28 + 6, 6 * 28 + 2]
    assert targets.first.tolist() == [cells[0], 28 + 1]
    assert targets.last[:, 0].tolist() == [*cells, NONE]
    assert targets.before[:, 0].tolist() == [NONE, *cells]
    assert targets.known[:, 0].tolist() == [True, True, True, False]
    following = targets.following[:, 0]
    assert following[:2].argmax(-1).tolist() == cells[1:]
    assert following[2, -1] == 1
    assert targets.following[3, 1, -1] == 1
    torch.testing.assert_close(targets.following[targets.known].sum(-1), torch.ones(7))
    torch.testing.assert_close(targets.vertices.sum(-1), torch.ones(2))
    assert targets.step[0, 0].tolist() == pytest.approx([4 / 28, 0])
    assert targets.step[2, 0].tolist() == pytest.approx([0, -4 / 28])  # back to the first
    # A Gaussian of 0.6 cells: the next cell's middle is one cell away.
    around = spread(torch.tensor([5.5, 9.5])).view(28, 28)
    assert float(around[9, 6] / around[9, 5]) == pytest.approx(np.exp(-1 / (2 * 0.36)), rel=1e-5)
    same = torch.tensor([0.25, 0.75])
    assert float(divergence(same.log(), same)) == pytest.approx(0, abs=1e-6)
    half = torch.tensor([0.5, 0.5])
    assert float(divergence(same.log(), half)) == pytest.approx(0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75))


def test_samples_show_the_object_where_the_polygon_is(store: Path) -> None:
    samples = OutlineSamples(small_crops_at(store), "train", 12, seed=3)
    first, again, other = samples[1], samples[1], samples[1 + len(samples)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.image, other.image)
    for n in range(24):
        sample = samples[n]
        inside = sample.image.float().mean(0).view(28, 8, 28, 8).mean((1, 3))
        assert inside[sample.mask & ~sample.edges].min() > inside[~sample.mask & ~sample.edges].max()
    batch = collate([samples[0], samples[1]])
    assert batch.vertices.shape == (2, 6, 2)  # of the square and the L
    assert batch.vertices[0, 4:].isnan().all()


def small_crops_at(store: Path) -> object:
    from pipelines.images.crops import open_crops

    return open_crops(store)


def test_evaluation_comparison_and_registration(workplace: Path, store: Path) -> None:
    crops = small_crops_at(store)
    params = (REPOSITORY / "params.yaml").read_text()
    Path("params.yaml").write_text(params.replace("trained_outline: [scs]", "trained_outline: [scs, convlstm]"))
    for seed, name in enumerate(["scs", "convlstm"]):
        annotator = write_outline_model(Path("models") / name, seed=seed, cell=name)
        result, metrics, polygons = evaluate_outline(annotator, crops, EvaluateOutline(thresholds=[1, 2], beam=1))
        for folder in ("scores", "metrics", "curves"):
            Path(folder).mkdir(exist_ok=True)
        result.to_parquet(f"scores/{name}.parquet")
        Path(f"metrics/{name}.json").write_text(json.dumps(metrics | {"iou": float(seed)}))
        pd.DataFrame({"step": [1, 2], "validation_next_loss": [2.0, 1.0]}).to_csv(f"curves/{name}.csv")
    own = result[result["threshold"] == 0].set_index(["method", "crop"])
    assert set(own.index.unique("method")) == {POLYGON, GRID_LIMIT, *BASELINES}
    assert list(polygons) == list(crops.table.index[crops.table["split"] == "test"])
    square, ell = (list(polygons)[at] for at in (0, 1))
    assert own.loc[("box", square), "iou"] > 0.98  # it is its box
    assert own.loc[("box", ell), "iou"] == pytest.approx(1 - 0.6 * 0.6, abs=0.01)  # what an L leaves out
    assert own.loc[("ellipse", square), "iou"] == pytest.approx(np.pi / 4, abs=0.01)
    assert own.loc[(GRID_LIMIT, ell), "iou"] > 0.95
    assert own.loc[(POLYGON, square), "known"]
    assert not own.loc[(POLYGON, ell), "known"]
    corrected = result[result["threshold"] > 0]
    assert (corrected["clicks"] <= corrected["true_vertices"] + 1).all()
    assert corrected.loc[corrected["threshold"] == 1, "iou"].mean() > 0.75  # an untrained network is corrected often
    assert metrics["clicks_1"] >= metrics["clicks_2"]

    compare_main(Path("scores"), Path("metrics"), Path("curves"), Path("comparison"))
    table = Path("comparison/table.md").read_text()
    assert "| ell (not trained on) | 2 |" in table
    assert "of the 4 that have 3 vertices or more" in table
    assert all(f"| {name}" in table for name in ("scs", "convlstm", "traced mask of convlstm", "ellipse", "box"))
    assert (Path("comparison/iou.png").stat().st_size and Path("comparison/curves.png").stat().st_size) > 0

    register_main(Path("scores"), Path("metrics"), Path("models"))
    client = connect("outline-annotation")
    assert client.get_model_version_by_alias("outline-annotation", "champion").tags["model"] == "convlstm"
    model = mlflow.pyfunc.load_model("models:/outline-annotation@champion")
    image, _ = draw("ell", (20, 15, 90, 75))
    boxes = np.array([[20.0, 15, 90, 75], [30, 20, 80, 70]])
    said = model.predict({"image": image[None], "box": boxes})
    ours = load_annotator(Path("models/convlstm")).annotate(image, boxes)
    for number, outline in enumerate(ours):
        of_box = said[said["object"] == number]
        np.testing.assert_allclose(of_box[["x", "y"]].to_numpy(), outline.points)
    with pytest.raises(UserError, match="no box: "):
        model.predict({"image": image[None], "box": boxes[:0]})
    files = Path(mlflow.artifacts.download_artifacts("models:/outline-annotation/2")).rglob("*")
    assert not {path.suffix for path in files} & {".pkl", ".pickle", ".pt", ".pth"}


def test_intervals_by_hand() -> None:
    crops = {"crop": [1, 2, 3, 4], "image": ["a", "a", "b", "b"]}
    one, other = (
        pd.DataFrame(crops | {"iou": [1.0, 0.0, 1.0, 0.0]}),
        pd.DataFrame(crops | {"iou": [0.5, 0.0, 0.5, 0.0]}),
    )
    assert interval(one) == (0.5, 0.5, 0.5)  # each image has the same mean: nothing varies
    assert difference(one, other[::-1]) == (0.25, 0.25, 0.25)
    assert np.isnan(interval(one[:2])[1])  # one image alone


def test_refusals(workplace: Path, store: Path) -> None:
    annotator = write_outline_model(Path("m"))
    image, _ = draw("square", (20, 15, 90, 75))
    with pytest.raises(UserError, match=r"uint8 \(H, W, 3\)"):
        annotator.annotate(image[..., 0], [[0, 0, 9, 9]])
    with pytest.raises(UserError, match="in one box"):
        annotator.annotate(image, [[0, 0, 9, 9]] * 2, fixes={0: (1, 1)})
    with pytest.raises(UserError, match="vertex 0 is fixed outside"):
        annotator.annotate(image, [[20, 15, 90, 75]], fixes={0: (500, 1)})
    with pytest.raises(UserError, match="vertex 99 can't be fixed"):
        annotator.annotate(image, [[20, 15, 90, 75]], fixes={99: (50, 50)})
    with pytest.raises(UserError, match=r"outline_models\.bad: the loss is .* lower train_outline\.learning_rate"):
        train("bad", store, params=FAST.model_copy(update={"learning_rate": 1e30}))
    weights = load_file("m/weights.safetensors")
    save_file({key: w for key, w in weights.items() if key != "cell_head.weight"}, "m/weights.safetensors")
    with pytest.raises(UserError, match=r"m/weights\.safetensors: "):
        load_annotator(Path("m"))


def test_a_fixed_vertex_stays_and_the_others_follow(workplace: Path) -> None:
    annotator = write_outline_model(Path("m"))
    image, _ = draw("square", (20, 15, 90, 75))
    box = [[20, 15, 90, 75]]
    (before,) = annotator.annotate(image, box)
    (after,) = annotator.annotate(image, box, fixes={0: (22.25, 17.5), 4: (80.0, 70.0)})
    assert after.points[[0, 4]].tolist() == [pytest.approx([22.25, 17.5]), pytest.approx([80, 70])]
    assert len(after.points) >= 5  # not closed before the last that is fixed
    assert not np.allclose(before.points[:3], after.points[:3])
    number = len(before.points) - 1
    (only_last,) = annotator.annotate(image, box, fixes={number: tuple(before.points[number] + 3)})
    np.testing.assert_allclose(only_last.points[:number], before.points[:number])  # those before it stay


def test_of_polygons_from_several_starts_the_one_like_the_mask_is_taken(workplace: Path, store: Path) -> None:
    annotator, crops = write_outline_model(Path("m"), seed=5), small_crops_at(store)
    encoded = annotator.encode(np.stack([crops.image(i) for i in (0, 1)]))
    settled, outlines = annotator.propose(encoded)
    for i, outline in enumerate(outlines):
        log_p = encoded.first[i].view(28, 28).numpy()
        around = np.pad(log_p, 2, constant_values=-np.inf)
        peaks = [
            (log_p[y, x], y * 28 + x)
            for y in range(28)
            for x in range(28)
            if log_p[y, x] == around[y : y + 5, x : x + 5].max()
        ]
        mask, agreement = mask_of(encoded.mask[i].numpy()), []
        for _, cell in sorted(peaks)[::-1][:STARTS]:
            first = torch.full((1, 784), -torch.inf).index_fill(1, torch.tensor([cell]), 0.0)
            one = type(encoded)(*(part[i : i + 1] for part in encoded))._replace(first=first)
            agreement.append(iou(to_mask(annotator.search(one)[0].points), mask))
        assert len(agreement) == STARTS
        assert iou(to_mask(outline.points), mask) == pytest.approx(max(agreement))
    for again, outline in zip(annotator.search(settled), outlines, strict=True):
        np.testing.assert_allclose(again.points, outline.points, atol=1e-4)
