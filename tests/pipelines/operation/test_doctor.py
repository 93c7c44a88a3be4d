"""What `scs doctor` finds, on a machine that has what the test gives it."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from archive import moving_cells
from conftest import free_port
from domains import SIMULATED, domain_in

from pipelines.common.errors import UserError
from pipelines.operation import doctor
from pipelines.operation.live_store import LiveStore
from pipelines.params.operation import Domain


def told(findings: Iterator[doctor.Finding]) -> list[str]:
    return [str(finding) for finding in findings]


def test_what_differs_from_the_lock_is_told_of_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "requirements.lock").write_text(f"# pins\nnumpy=={np.__version__}\npytest==0.0.1\nno-such-thing==1.0\n")
    monkeypatch.setattr(doctor, "CODE", tmp_path)
    first, *others = told(doctor.versions())
    assert first.startswith("ok     versions: Python 3.")
    fix = "pip install --requirement requirements.lock"
    assert others == [
        f"WRONG  pytest: {pytest.__version__}, and requirements.lock pins 0.0.1; {fix}",
        f"WRONG  no-such-thing: missing, and requirements.lock pins 1.0; {fix}",
    ]


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path in ("/api/health", "/health") else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


def test_servers_that_answer_and_one_that_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Healthy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        api, dead = f"http://127.0.0.1:{server.server_port}/api", f"http://127.0.0.1:{free_port()}"
        monkeypatch.setenv("PREFECT_API_URL", api)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", dead)
        monkeypatch.setenv("PAGE_PORT", str(server.server_port))
        prefect, mlflow, page = told(doctor.servers())
        monkeypatch.setenv("PAGE_PORT", str(free_port()))
        *_, no_page = told(doctor.servers())
        server.shutdown()
    assert page == f"ok     page: {api.removesuffix('/api')} answers"
    assert no_page.startswith("note   page: ") and no_page.endswith("; `python -m flows.serve` starts it")
    assert prefect == f"ok     Prefect: {api} answers"
    assert mlflow.startswith(f"WRONG  MLflow: {dead}: ")
    assert mlflow.endswith("Connection refused; start it, or correct MLFLOW_TRACKING_URI")


def test_folders_that_can_t_be_written_and_a_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch(0o600)
    good, bad = tmp_path / "new/inbox", tmp_path / "file/inbox"
    (finding,) = doctor.permissions({good, bad})
    assert (finding.state, finding.remedy) == ("WRONG", "chown or chmod it")
    assert finding.words.startswith(f"{bad}: can't be written")
    assert told(doctor.permissions({good})) == ["ok     permissions: 1 folders can be written"]
    (line,) = told(doctor.disk({good, tmp_path}))
    assert line.startswith("ok     disk: ") and line.endswith(f" GB free where {tmp_path} lies")
    monkeypatch.setattr(doctor, "LEAST_FREE", 1e9)
    assert [finding.state for finding in doctor.disk({good})] == ["WRONG"]


def test_the_newest_frame_is_as_old_as_the_policy_allows_or_not(tmp_path: Path) -> None:
    policy = SIMULATED.policy.model_copy(update={"max_age_minutes": 30})
    domain: Domain = domain_in(tmp_path, policy=policy)
    no_inbox, nothing = told(doctor.newest_frame(domain))
    assert no_inbox.startswith(f"WRONG  here: newest frame: {tmp_path}/inbox: no such folder; ")
    assert nothing == f"note   here: newest frame: {tmp_path}/store: none yet"
    domain.inbox.mkdir()
    (frame,) = moving_cells("2024-06-01T12:00:00", 1, shape=(32, 32))
    now = np.datetime64("now")
    for minutes, state in ((70, "WRONG"), (10, "ok")):
        LiveStore.of(domain).append([replace(frame, time=now - np.timedelta64(minutes, "m"))])
        (finding,) = doctor.newest_frame(domain)
        assert finding.state == state
        assert str(now - np.timedelta64(minutes, "m")) in finding.words


def test_a_model_is_loaded_as_its_forecast_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert told(doctor.model(domain_in(tmp_path, model="extrapolation"))) == [
        "ok     here: model: extrapolation: extrapolation"
    ]
    (finding,) = doctor.model(domain_in(tmp_path, model="rain-model"))
    assert finding.words.startswith("rain-model: no such folder")
    assert finding.remedy.startswith("export it again; or name another")


def test_without_parameters_the_rest_is_looked_at_and_an_error_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Iterator[doctor.Finding]:
        raise RuntimeError("by the driver")
        yield

    def refuse() -> None:
        raise UserError("params.yaml: No such file or directory")

    monkeypatch.setattr(doctor, "gpu", broken)
    for name in ("versions", "login", "servers"):
        monkeypatch.setattr(doctor, name, partial(iter, ()))
    assert told(doctor.examine(refuse)) == [
        "WRONG  GPU: RuntimeError: by the driver",
        "WRONG  params.yaml: params.yaml: No such file or directory; correct it, or work in the folder where it is",
    ]
