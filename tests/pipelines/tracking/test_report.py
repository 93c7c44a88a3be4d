"""The page is checked against what plain MLflow calls put into the store."""

import base64
import re
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import mlflow
import pytest
from PIL import Image

from pipelines.common.errors import UserError
from pipelines.tracking.history import log_comparison, read_comparison
from pipelines.tracking.report import write_report


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").touch()
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return uri


def log_run(name: str, csi: float, p: float, **tags: str) -> str:
    mlflow.set_experiment("radar-nowcast")
    with mlflow.start_run(run_name=name) as run:
        mlflow.set_tags({"switch": "STSGD", **tags})
        mlflow.log_params({"model.cell": "scs", "train.seed": 1, "train.steps": 20, "model.switch.p": p, "same": 7})
        for step, loss in ((10, 0.9), (20, 0.4)):
            mlflow.log_metric("validation_loss", loss, step=step)
        mlflow.log_metric("csi_mean", csi)
    return run.info.run_id


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.best: list[str] = []
        self.images: list[bytes] = []
        self.loaded: list[str] = []
        self._marked = self._cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._cell, self._marked = True, said.get("class") == "best"
        if tag in ("script", "link", "iframe"):
            self.loaded.append(tag)
        source = said.get("src") or ""
        if source.startswith("data:image/png;base64,"):
            self.images.append(base64.b64decode(source.partition(",")[2]))
        elif source:
            self.loaded.append(source)

    def handle_endtag(self, tag: str) -> None:
        self._cell = self._cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._cell:
            self.rows[-1][-1] += data
            if self._marked:
                self.best.append(data)


def test_the_page_has_tables_curves_and_maps_and_loads_nothing(store: str, tmp_path: Path) -> None:
    mlflow.set_tracking_uri(store)
    log_run("scs <a>", 0.25, 0.5)
    champion = log_run("scs_b", 0.5, 0.25, dvc_exp="brave-owl")
    client = mlflow.MlflowClient()
    client.create_registered_model("radar-nowcast")
    client.create_model_version("radar-nowcast", "somewhere", champion)
    client.set_registered_model_alias("radar-nowcast", "champion", "1")
    comparison = tmp_path / "comparison"
    comparison.mkdir()
    Image.new("RGB", (37, 23), "red").save(comparison / "maps.png")
    (comparison / "table.md").write_text("| method | CSI |\n")
    log_comparison(comparison)
    log_comparison(comparison)
    assert len(client.search_runs([client.get_experiment_by_name("radar-nowcast").experiment_id])) == 3

    assert write_report(tmp_path / "report.html") == 2
    text = (tmp_path / "report.html").read_text()
    page = Page(text)
    assert page.loaded == [] and not re.search(r"url\(|@import|https?://", text)
    head, newest, oldest = (dict(zip(page.rows[0], row, strict=True)) for row in page.rows)
    assert head["model.switch.p"] and "same" not in head, "only what differs"
    assert (newest["model"], newest["experiment"], newest["alias"]) == ("scs_b", "brave-owl", "champion")
    assert (newest["csi_mean"], newest["model.switch.p"], newest["train.seed"]) == ("0.5", "0.25", "1")
    assert (oldest["model"], oldest["csi_mean"], oldest["validation_loss"]) == ("scs <a>", "0.25", "0.4")
    assert page.best.count("0.5") == 1 and "0.25" not in page.best
    pictures = [Image.open(BytesIO(image)) for image in page.images]
    assert (37, 23) in [picture.size for picture in pictures] and len(pictures) == 2, "curves and maps"
    assert "| method | CSI |" in text and "<a>" not in text


def test_what_recognises_actions_has_a_page_too(store: str, tmp_path: Path) -> None:
    mlflow.set_tracking_uri(store)
    mlflow.set_experiment("action-recognition")
    with mlflow.start_run(run_name="cnn_lstm"):
        mlflow.log_params({"model.cell": "cnn_lstm", "train_action.seed": 3, "train_action.steps": 20})
        mlflow.log_metrics({"validation_loss": 0.5, "top1": 0.75})
    (tmp_path / "comparison").mkdir()
    (tmp_path / "comparison" / "table.md").write_text("| network | top-1 |")
    log_comparison(tmp_path / "comparison", "action-recognition")
    assert write_report(tmp_path / "report.html", "action-recognition") == 1
    page = Page(text := (tmp_path / "report.html").read_text())
    row = dict(zip(page.rows[0], page.rows[1], strict=True))
    assert (row["train_action.seed"], row["top1"]) == ("3", "0.75") and "train.seed" not in row
    assert "| network | top-1 |" in text


def test_a_changed_comparison_is_a_new_one(store: str, tmp_path: Path) -> None:
    comparison = tmp_path / "comparison"
    comparison.mkdir()
    for said in ("first", "second"):
        (comparison / "table.md").write_text(said)
        log_comparison(comparison)
    (tmp_path / "fetched").mkdir()
    (file,) = read_comparison(tmp_path / "fetched")
    assert file.read_text() == "second"


def test_an_empty_store_is_told_of(store: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no finished training in the experiment radar-nowcast"):
        write_report(tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()
