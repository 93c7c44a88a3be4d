"""A registered model as a folder: what is in it, what takes it without MLflow, and what is refused."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_model import NETWORK, write_model

from pipelines.common.errors import UserError
from pipelines.common.provenance import sha256
from pipelines.nowcast.export_model import export_model
from pipelines.nowcast.pysteps_method import forecast
from pipelines.nowcast.registered_model import load
from pipelines.nowcast.specification import NAME, RADAR

ARCHIVE = {"name": "national", "license": "CC-BY-4.0", "attribution": "Source: us"}
DESCRIPTION = {"method": "network", "name": "small", "inputs": 3, "network": NETWORK, "archives": [ARCHIVE]}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to work in, whose registry has models trained on archives of three licences and an unknown one."""
    folder = tmp_path_factory.mktemp("export")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "dvc.yaml").touch()
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        free = write_model(folder / "free", DESCRIPTION)
        version = RADAR.ensure_version("small", free, {})
        RADAR.set_card(version, "Network of convlstm cells")
        RADAR.set_memory(version, {"forecast": 812.0})
        for seed, licence in enumerate(("CC-BY-NC-4.0", "LicenseRef-scancode-unknown"), 1):
            other = DESCRIPTION | {"archives": [ARCHIVE, ARCHIVE | {"name": "other", "license": licence}]}
            RADAR.ensure_version("other", write_model(folder / licence, other, seed=seed), {})
        RADAR.ensure_version("old", write_model(folder / "old", DESCRIPTION | {"archives": None}, seed=3), {})
        export_model(f"models:/{NAME}/1", folder / "exported")
        yield folder


@pytest.fixture
def exported(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of an exported model's folder."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place}/mlflow.db")
    return Path(shutil.copytree(place / "exported", tmp_path / "model"))


def test_a_folder_is_the_model_that_was_registered(place: Path, exported: Path) -> None:
    assert sorted(path.name for path in exported.iterdir()) == [
        *("README.md", "exported.json", "model.json", "weights.safetensors")
    ]
    for name in ("model.json", "weights.safetensors"):
        assert (exported / name).read_bytes() == (place / "free" / name).read_bytes()
    manifest = json.loads((exported / "exported.json").read_text())
    digest = hashlib.sha256((exported / "README.md").read_bytes()).hexdigest()
    assert manifest["sha256"]["README.md"] == digest
    card = (exported / "README.md").read_text()
    assert card.startswith(f"# {NAME}, version 1\n\nNetwork of convlstm cells\n\n## Rights\n")
    assert "- trained on national: CC-BY-4.0; Source: us" in card
    loaded, registered = load(str(exported)), load(f"models:/{NAME}/1")
    assert (loaded.name, loaded.bytes_a_pixel) == (NAME, {"forecast": 812.0})
    assert loaded.version == f"1-{registered.sha256[:8]}"  # the registry here may have another of this number
    assert loaded.sha256 == registered.sha256 == sha256(place / "free")
    assert loaded.description == registered.description


def test_it_is_used_without_mlflow(exported: Path) -> None:
    """By pysteps' method and by `scs evaluate` alike, in a process that has no MLflow."""
    frames = np.random.default_rng(1).gamma(1, 1, (3, 64, 64)).astype(np.float32)
    np.save(exported.parent / "frames.npy", frames)
    code = f"""
import sys
sys.modules["mlflow"] = None
import numpy as np
from pipelines.nowcast.archive_evaluation import load_method
from pipelines.nowcast.pysteps_method import forecast
from pipelines.params.read import params_by_hand
frames = np.load("frames.npy")
rain = forecast(frames, None, 3, model={str(exported)!r}, timestep=5, kmperpixel=1.0)
method = load_method({str(exported)!r}, params_by_hand())
np.testing.assert_array_equal(method.make(1000.0, 300)(frames, 3), rain.astype(np.float32))
np.save("rain.npy", rain)
"""
    subprocess.run([sys.executable, "-c", code], cwd=exported.parent, check=True, env=os.environ)
    expected = forecast(frames, None, 3, model=f"models:/{NAME}/1", timestep=5, kmperpixel=1.0)
    np.testing.assert_array_equal(np.load(exported.parent / "rain.npy"), expected)


@pytest.mark.parametrize(
    ("number", "why"),
    [(2, "not for commercial use"), (3, "licence unknown: ask whose data they are"), (4, "licence unknown")],
)
def test_what_may_not_be_given_away_needs_a_flag(place: Path, exported: Path, number: int, why: str) -> None:
    uri, folder = f"models:/{NAME}/{number}", exported.parent / "other"
    with pytest.raises(UserError, match=rf"^{uri}: {why}.*; --despite-rights writes it all the same$"):
        export_model(uri, folder)
    assert not folder.exists()
    export_model(uri, folder, despite_rights=True)
    assert str(load(str(folder)).version).startswith(f"{number}-")
    words = {2: "other: CC-BY-NC-4.0; Source: us; not for commercial use", 3: "other: LicenseRef-scancode-unknown"}
    assert words.get(number, "unknown: it was trained before that was kept") in (folder / "README.md").read_text()


@pytest.mark.parametrize("uri", [f"models:/{NAME}/9", "models:/nobody@champion", "no/such/folder", "runs:/abc/model"])
def test_what_is_no_version_is_one_line(exported: Path, uri: str) -> None:
    with pytest.raises(UserError, match=f"^{uri}: ") as error:
        export_model(uri, exported.parent / "other")
    assert "\n" not in str(error.value)
    assert not (exported.parent / "other").exists()


def test_what_is_there_stays(exported: Path) -> None:
    before = sha256(exported)
    with pytest.raises(UserError, match=r"model: is there already$"):
        export_model(f"models:/{NAME}/1", exported)
    assert sha256(exported) == before


def edit(key: str, value: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = json.loads((folder / "exported.json").read_text())
        content[key] = value
        (folder / "exported.json").write_text(json.dumps(content))

    return change


def linked(name: str, target: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(target)

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            edit("scs_format_version", 2),
            "model: it is of format 2, and this scs-nowcast knows up to 1: use a newer one",
        ),
        (edit("sha256", {"../../etc/passwd": "0" * 64}), "exported.json: not a model's manifest: sha256"),
        (edit("sha256", {}), "README.md: changed since it was registered"),
        (edit("bytes_a_pixel", {"forecast": -1.0}), "exported.json: not a model's manifest: bytes_a_pixel.forecast: "),
        (edit("version", 1), "exported.json: not a model's manifest: version: "),
        (
            lambda folder: (folder / "exported.json").write_text("[]"),
            "exported.json: not a model's manifest: no object",
        ),
        (lambda folder: (folder / "exported.json").write_text("[" * 9999), "exported.json: not a model's manifest: "),
        (lambda folder: (folder / "exported.json").write_bytes(b" " * (2 << 20)), "manifest: too large"),
        (lambda folder: (folder / "README.md").write_text("free"), "README.md: changed since it was registered"),
        (lambda folder: (folder / "model.json").write_text("{}"), "model.json: changed since it was registered"),
        (lambda folder: (folder / "weights.safetensors").unlink(), "weights.safetensors: missing: "),
        (lambda folder: (folder / "model.json").unlink(), "model.json: missing: "),
        (linked("model.json", "/etc/passwd"), "model.json: a link to /etc/passwd, out of its folder"),
        (linked("exported.json", "/dev/zero"), "exported.json: a link to /dev/zero, out of its folder"),
        (
            lambda folder: [(folder / "weights.safetensors").unlink(), os.mkfifo(folder / "weights.safetensors")],
            "weights.safetensors: a pipe, no file",
        ),
    ],
)
def test_a_folder_that_is_not_as_it_was_exported_is_one_line(
    exported: Path, change: Callable[[Path], object], words: str
) -> None:
    change(exported)
    with pytest.raises(UserError) as error:
        load(str(exported))
    assert words in str(error.value)
    assert "\n" not in str(error.value)
