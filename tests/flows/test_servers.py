"""Who may talk to the servers of ``make serve``: nobody from another name or page, nobody without the login.

All ports, from raw requests: what a browser sends for a hostile page, and what another user of the machine may try.
"""

import base64
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from conftest import Served, processes_of
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

PATHS = {
    "prefect": [
        "/",
        "/api/health",
        "/api/ready",
        "/api/version",
        "/api/admin/version",
        "/api/csrf-token?client=x",
        "/api/flow_runs/filter",
        "/api/work_pools/",
        "/api/static/prefect-logo-mark-gradient.png",
        "/ui-settings",
        "/v2/",
        "/docs",
        "/openapi.json",
        "/no/such/path",
        "//api/flow_runs/filter",
    ],
    "mlflow": [
        "/",
        "/health",
        "/version",
        "/server-info",
        "/static-files/favicon.ico",
        "/api/2.0/mlflow/experiments/search",
        "/ajax-api/2.0/mlflow/experiments/search",
        "/api/2.0/mlflow-artifacts/artifacts",
        "/ajax-api/3.0/mlflow/assistant/status",
        "/get-artifact?path=x&run_uuid=y",
        "/model-versions/get-artifact?path=x",
        "/graphql",
        "/gateway/x/mlflow/invocations",
        "/v1/traces",
        "/no/such/path",
        "//api/2.0/mlflow/experiments/search",
    ],
    "page": [
        "/",
        "/health",
        "/worked/",
        "/worked/index.js",
        "/worked/worked/page/state.js",
        "/no/such/path",
        "//worked/",
    ],
}
UNGUARDED = {"/api/health", "/api/ready", "/health"}
# Of Prefect's UI and its description of the API: the same for all the world.
STATIC = {"/", "/ui-settings", "/v2/", "/docs", "/openapi.json", "/no/such/path", "//api/flow_runs/filter"}
WEBSOCKETS = [
    "events/in",
    "events/out",
    "logs/out",
    "task_runs/subscriptions/scheduled",
    "work_pools/forecasts/workers/connect",
]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "X"]


def address(served: Served, server: str) -> tuple[str, int]:
    parts = urlsplit(getattr(served, server))
    assert parts.hostname and parts.port
    return parts.hostname, parts.port


def ask(
    where: tuple[str, int], method: str, target: str, *headers: str, version: str = "1.1", body: str = ""
) -> tuple[int, dict[str, str]]:
    """Send a request as it is written here; gives the status and the headers of the answer."""
    lines = [f"{method} {target} HTTP/{version}", *headers, f"Content-Length: {len(body)}", "Connection: close"]
    with socket.create_connection(where, timeout=120) as connection:
        connection.sendall(("\r\n".join(lines) + f"\r\n\r\n{body}").encode())
        answer = b""
        while b"\r\n\r\n" not in answer and (block := connection.recv(65536)):
            answer += block
    status, *rest = answer.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    return int(status.split()[1]), {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}


def answered(url: str, subprotocols: list[str], message: dict) -> bool:
    """Whether a websocket sends anything in answer to a first message."""
    try:
        with connect(url, subprotocols=subprotocols) as channel:
            channel.send(json.dumps(message))
            return bool(channel.recv(timeout=60))
    except (InvalidStatus, ConnectionClosed):
        return False


def login_header(served: Served) -> str:
    return f"Authorization: Basic {base64.b64encode(served.login['PREFECT_API_AUTH_STRING'].encode()).decode()}"


def refused(answer: tuple[int, dict[str, str]]) -> bool:
    status, headers = answer
    return 400 <= status < 500 and not any(name.startswith("access-control-allow") for name in headers)


@pytest.fixture(params=PATHS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def where(served: Served, name: str) -> tuple[str, int]:
    return address(served, name)


def test_a_foreign_name_is_refused_on_every_path_even_with_the_login(
    served: Served, name: str, where: tuple[str, int]
) -> None:
    port = where[1]
    hosts = [
        "evil.example",
        f"evil.example:{port}",
        f"127.0.0.1.evil.example:{port}",
        "0.0.0.0",
        "10.0.0.1",
        "192.168.1.1",
    ]
    hosts += [
        f"[::1]:{port}",
        f"127.0.0.1@evil.example:{port}",
        f"evil.example@127.0.0.1:{port}",
        "127.0.0.1,evil",
        "*",
        "",
    ]
    for path in PATHS[name]:
        for method in METHODS if path in ("/api/flow_runs/filter", "/health") else ["GET", "POST"]:
            assert refused(ask(where, method, path, "Host: evil.example", login_header(served))), (method, path)
    for host in hosts:
        for path in PATHS[name][:3]:
            assert refused(ask(where, "GET", path, f"Host: {host}", login_header(served))), (host, path)
    for version, headers in (("1.0", []), ("1.1", []), ("1.1", [f"Host: 127.0.0.1:{port}", "Host: evil.example"])):
        assert refused(ask(where, "GET", PATHS[name][1], *headers, login_header(served), version=version)), headers
    own = [f"127.0.0.1:{port}", f"localhost:{port}", f"LOCALHOST:{port}", "127.0.0.1"]
    assert [ask(where, "GET", PATHS[name][1], f"Host: {host}")[0] for host in own] == [200] * 4


def test_a_foreign_page_is_refused_on_every_path_even_with_the_login(
    served: Served, name: str, where: tuple[str, int]
) -> None:
    host = f"Host: 127.0.0.1:{where[1]}"
    cookie = "Cookie: session=x"
    origins = [
        "http://evil.example",
        "null",
        "https://127.0.0.1",
        "http://127.0.0.1:1",
        "http://localhost:3000",
        "file://",
    ]
    origins += [
        f"http://localhost:{where[1]}",
        f"http://evil.example:{where[1]}",
        f"http://[::1]:{where[1]}",
        "http://[",
    ]
    origins += [f"http://127.0.0.1:{where[1]}@evil.example", f"http://127.0.0.1:{where[1]}.evil.example", ""]
    says = [f"Origin: {origin}" for origin in origins]
    # Where a browser leaves Origin out: pictures, scripts, frames, forms by GET.
    says += ["Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image"]
    says += ["Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe"]
    for path in PATHS[name]:
        for page in says if path in UNGUARDED else [says[0], says[1], says[4], says[-2], says[-1]]:
            assert refused(ask(where, "GET", path, host, page, login_header(served), cookie)), (path, page)
        for method in METHODS:
            assert refused(ask(where, method, path, host, says[0], login_header(served), body="{}")), (method, path)
        preflight = ["Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization"]
        for origin in (says[0], "Origin: null", "Origin: http://127.0.0.1:1"):
            assert refused(ask(where, "OPTIONS", path, host, origin, *preflight)), (path, origin)
    # Absolute-form, as to a proxy: what Host says counts.
    assert refused(
        ask(where, "GET", f"http://evil.example{PATHS[name][5]}", "Host: evil.example", login_header(served))
    )
    # Who follows a link from elsewhere is let in, where Origin says nothing.
    link = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document"
    assert ask(where, "GET", "/", host, link, login_header(served))[0] in (200, 307)  # Prefect's is to /v2/
    own = f"Origin: http://127.0.0.1:{where[1]}\r\nSec-Fetch-Site: same-origin"
    status, headers = ask(where, "GET", "/", host, own, login_header(served))
    assert status in (200, 307)
    assert "connect-src 'self'; img-src 'self' data:" in headers["content-security-policy"], (
        "nor does our page ask others"
    )


def test_without_the_login_there_is_nothing_but_health_and_the_bare_ui(
    served: Served, name: str, where: tuple[str, int]
) -> None:
    host = f"Host: 127.0.0.1:{where[1]}"
    wrong = [base64.b64encode(text.encode()).decode() for text in ("scs:", "scs:wrong", ":", "admin:password1234")]
    password = served.login["MLFLOW_TRACKING_PASSWORD"]
    attempts = ["X: y", "Authorization:", "Authorization: Basic", "Authorization: Basic *", "Cookie: session=x"]
    attempts += [f"Authorization: Basic {text}" for text in wrong]
    attempts += [f"Authorization: Bearer {password}", f"Authorization: Basic scs:{password}", "Authorization: Basic é"]
    for path in PATHS[name]:
        for method in METHODS:
            if method in ("GET", "HEAD") and (path in UNGUARDED or (name == "prefect" and path in STATIC)):
                continue
            for attempt in attempts if method == "GET" else attempts[:1]:
                assert refused(ask(where, method, path, host, attempt, body="{}")), (method, path, attempt)


def test_no_websocket_is_opened_from_a_foreign_name_or_page_or_without_the_login(served: Served) -> None:
    host, port = address(served, "prefect")
    password = served.login["PREFECT_API_AUTH_STRING"]
    for path in WEBSOCKETS:
        url = f"ws://{host}:{port}/api/{path}"
        for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
            with pytest.raises(InvalidStatus) as answer, connect(url, origin=origin, subprotocols=["prefect"]):
                pytest.fail("opened")
            assert answer.value.response.status_code == 403
            assert "access-control-allow-origin" not in answer.value.response.headers
        foreign = f"ws://evil.example:{port}/api/{path}"
        sock = socket.create_connection((host, port))
        with sock, pytest.raises(InvalidStatus) as answer, connect(foreign, sock=sock, subprotocols=["prefect"]):
            pytest.fail("opened")
        assert answer.value.response.status_code == 400
        for subprotocols in ([], ["prefect"]):  # Prefect asks for the login in the first message
            for message in ({"type": "auth"}, {"type": "auth", "token": "scs:wrong"}, {"type": "filter", "filter": {}}):
                assert not answered(url, subprotocols, message), path
        if path.startswith("work_pools"):
            continue
        with connect(url, subprotocols=["prefect"], origin=f"http://127.0.0.1:{port}") as channel:
            channel.send(json.dumps({"type": "auth", "token": password}))
            assert json.loads(channel.recv(timeout=60)) == {"type": "auth_success"}
    where = address(served, "mlflow")
    for path in ("/", "/ajax-api/2.0/mlflow/experiments/search"):
        with pytest.raises(InvalidStatus) as answer, connect(f"ws://{where[0]}:{where[1]}{path}"):
            pytest.fail("opened")
        assert answer.value.response.status_code == 401


def test_what_writes_needs_prefects_csrf_token_too(served: Served) -> None:
    host, port = address(served, "prefect")
    answer = ask((host, port), "POST", "/api/flow_runs/filter", f"Host: {host}:{port}", login_header(served), body="{}")
    assert answer[0] == 403


def test_the_login_is_in_its_file_and_in_no_command_line_or_log(served: Served) -> None:
    file = served.folder / "data/servers.env"
    assert file.stat().st_mode & 0o777 == 0o600
    password = served.login["MLFLOW_TRACKING_PASSWORD"].encode()
    assert len(password) >= 32
    own = processes_of(f"PREFECT_HOME={served.folder}/")
    assert len(own) >= 3
    lines = [Path(f"/proc/{process}/cmdline").read_bytes() for process in own if Path(f"/proc/{process}").exists()]
    assert not any(password in line for line in lines)
    holders = [path for path in served.folder.rglob("*") if path.is_file() and password in path.read_bytes()]
    assert holders == [file]


def test_a_deployment_is_run_from_a_shell_that_has_read_the_file(served: Served) -> None:
    ours = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "MLFLOW_"))}
    ours |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    run = f"PREFECT_API_URL={served.prefect} prefect deployment run verify/worked --watch"
    refusal = subprocess.run(run, shell=True, cwd=served.folder, env=ours, capture_output=True, text=True, check=False)
    assert refusal.returncode != 0
    done = subprocess.run(
        f". data/servers.env; {run}",
        shell=True,
        cwd=served.folder,
        env=ours,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Completed" in done.stdout
