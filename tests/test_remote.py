"""What one clone has made, another takes from DVC's remote, a folder or S3; and a clone that is renamed keeps it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from clone import commit, copy_working_tree, registry, sh
from conftest import holders
from s3_server import client, serve_s3

pytestmark = pytest.mark.full

PREDICT = """
import mlflow, numpy as np
mlflow.set_tracking_uri("sqlite:///mlflow/mlflow.db")
model = mlflow.pyfunc.load_model("models:/radar-nowcast/2")
print(model.predict(np.ones((4, 64, 64), np.float32), {"leads": 6}).shape)
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which one network was trained, scored and registered."""
    folder = tmp_path_factory.mktemp("remote") / "first"
    copy_working_tree(folder)
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["simulate"] |= {"events": 5, "hours": 1.5, "size": 64}
    params["index"] |= {"size": 32, "stride": 32, "leads": 6}
    params["train"] |= {"steps": 6, "checkpoint_steps": 3, "validation_windows": 4}
    params |= {"models": {"scs": params["models"]["scs"] | {"widths": [8]}}, "trained": ["scs"]}
    params |= {"baselines": ["persistence", "extrapolation", "climatology"]}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    commit(folder)
    sh("dvc repro register", folder)
    return folder


@pytest.fixture(params=["folder", "s3"])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The URL of an empty remote, and what the environment has to have for it."""
    if request.param == "folder":
        yield str(tmp_path / "remote"), {}
        return
    with serve_s3("nowcast") as address:
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "marked-1f0b7c52e6"}
        yield "s3://nowcast/dvc", keys | {"AWS_ENDPOINT_URL": address, "AWS_DEFAULT_REGION": "us-east-1"}
        assert client(address).list_objects_v2(Bucket="nowcast")["KeyCount"] > 0


def test_a_fresh_clone_takes_all_and_makes_nothing(
    repository: Path, remote: tuple[str, dict[str, str]], tmp_path: Path
) -> None:
    url, keys = remote
    sh(f"dvc remote add --local --force --default shared {url} && dvc push", repository, **keys)
    clone = tmp_path / "clone"
    sh(f"git clone -q {repository} {clone}", tmp_path)
    (clone / "dvc.lock").write_bytes((repository / "dvc.lock").read_bytes())  # which its owner commits
    sh(f"dvc remote add --local --default shared {url} && dvc pull --allow-missing", clone, **keys)
    said = sh("dvc repro register", clone, **keys).stdout
    assert re.findall(r"Running stage '(.*)'", said) == ["register"]
    assert (clone / "dvc.lock").read_bytes() == (repository / "dvc.lock").read_bytes()
    known, before = registry(clone), registry(repository)
    assert {version: known[version]["model_sha256"] for version in known if version != "aliases"} == {
        version: before[version]["model_sha256"] for version in before if version != "aliases"
    }
    assert known["aliases"] == before["aliases"]
    kept = [folder / name for folder in (clone, repository) for name in (".dvc", "data", "mlflow")]
    assert [file for one in kept for file in holders(one)] == [], "the key is in no configuration, cache or store"

    renamed = clone.rename(tmp_path / "re named")
    said = sh("scs forecast data/raw/simulated", renamed).stdout
    assert "radar-nowcast version 1, 12 lead times" in said
    assert sh(f"python - <<'E'\n{PREDICT}E", renamed).stdout.splitlines()[-1] == "(6, 64, 64)"
