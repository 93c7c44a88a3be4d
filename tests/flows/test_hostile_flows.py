"""Names, and words of other programs, in what Prefect shows of a run: as they are, and nothing else."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from archive import moving_cells
from conftest import REPOSITORY, Served, logs_of, write_params
from hostile import MARKDOWN, NAMES, in_markdown, is_clean, named
from inbox_file import write_file
from prefect import Flow, Task, get_client
from prefect.client.schemas.objects import State
from prefect.logging.handlers import APILogHandler

from flows.archive import archive
from flows.forecast import forecast
from flows.train import train
from flows.verify import verify
from pipelines.nowcast.specification import RADAR
from pipelines.tracking import decisions


def shown_of(state: State) -> tuple[str, list[str]]:
    """Return a run's artifact, and the lines of its log."""
    APILogHandler().flush()
    run_id = state.state_details.flow_run_id
    with get_client(sync_client=True) as client:
        (artifact,) = (one for one in client.read_artifacts() if one.flow_run_id == run_id)
        return artifact.data, [log.message for log in client.read_logs(logs_of(run_id))]


def test_the_names_of_frames(server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The three frames that a forecast is made from bear some; the others stand in what the run says."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.mlflow)
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path, {"hostile": {"minutes": 10}})
    inbox = tmp_path / "data" / "inbox" / "hostile"
    names = [name.replace("/", "∕") for name in NAMES[:3]]
    for frame, name in zip(moving_cells("2024-06-01T12:00:00", 3, shape=(40, 40)), names, strict=True):
        write_file(inbox, frame, name=name)
    for path in named(inbox, b"not a radar file", NAMES[3:]):
        os.utime(path, (0, 0))
    state = forecast("hostile", datetime(2024, 6, 1, 12, 20, tzinfo=UTC), return_state=True)
    assert state.is_completed(), state
    artifact, lines = shown_of(state)
    assert is_clean(state.message) and all(map(is_clean, lines))
    assert any(r"new\nline\r\n# heading\t\x1b[31mred" in line for line in lines)
    text, made = in_markdown(artifact)
    assert made == {"image", "link_open", "link_close"}
    assert all(name in text for name in names)
    inline = [child for token in MARKDOWN.parse(artifact) for child in token.children or []]
    targets = [str(child.attrGet("href") or child.attrGet("src")) for child in inline if child.attrs]
    assert len(targets) == 2  # links to files of the machine are none for this viewer
    assert targets[0].startswith("data:image/webp;base64,") and targets[1].startswith(f"{server.mlflow}/#/models/")


def test_the_last_words_of_a_stage(server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_bytes((REPOSITORY / "params.yaml").read_bytes())
    words = r"[link](http://evil.example) <img src=x> **a** |b| \033[31m http://scs:secret@host/x"
    stages = {"bad": {"cmd": f"printf '%b\\n' '{words}'; false", "outs": ["never"]}}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    os.system("dvc init --no-scm --quiet")
    state = train(return_state=True)
    assert state.is_failed()
    artifact, lines = shown_of(state)
    text, made = in_markdown(artifact)
    expected = r"[link](http://evil.example) <img src=x> **a** |b| \x1b[31m http://host/x"
    assert expected in text and expected in state.message and any(expected in line for line in lines)
    assert made <= {"strong_open", "strong_close"} and all(map(is_clean, lines)) and "secret" not in artifact


def test_the_reason_of_a_decision(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands in MLflow's tags may be anybody's who can write there."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.mlflow)
    champion = RADAR.find_alias("champion")
    assert champion is not None
    decisions.record(RADAR, champion, "promote", f"{NAMES[3]} champion: version 9", {})
    assert all(is_clean(str(period)) for period in decisions.champion_periods(decisions.read_decisions(RADAR)))


@pytest.mark.parametrize("flow", [forecast, verify, archive])
def test_a_domain_that_is_none(server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flow: Flow) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path, {"hostile": {}})
    state = flow(NAMES[3], return_state=True)
    APILogHandler().flush()
    with get_client(sync_client=True) as client:
        lines = [log.message for log in client.read_logs(logs_of(state.state_details.flow_run_id))]
    assert state.is_failed() and is_clean(state.message)
    assert any("no forecast" in line or "not " in line for line in lines)
    assert all(is_clean(line) for message in lines for line in message.split("\n"))


def test_the_words_of_an_exception(server: Served) -> None:
    def words(task: bool) -> None:
        raise ValueError(f"{NAMES[3]} http://scs:secret@host/x")

    state = Flow(lambda: Task(words).submit(True).wait() or words(False), name="hostile")(return_state=True)
    APILogHandler().flush()
    with get_client(sync_client=True) as client:
        lines = [log.message for log in client.read_logs(logs_of(state.state_details.flow_run_id))]
    assert sum("Traceback" in message for message in lines) == 2
    assert all(is_clean(line) for message in lines for line in message.split("\n"))
    assert "secret" not in "".join(lines)
