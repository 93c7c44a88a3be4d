"""The page on our own server: who may see what of it."""

from pathlib import Path

import pytest
from conftest import write_params
from starlette.testclient import TestClient

from pipelines.operation.page.server import create_app
from pipelines.operation.page.write import update_page
from pipelines.params.read import read_params

LOGIN = ("scs", "secret")


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", LOGIN[0])
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", LOGIN[1])
    write_params(tmp_path, {"here": {}, "far": {"out": str(tmp_path / "elsewhere/far")}})
    (tmp_path / "data/out").mkdir(parents=True)
    (tmp_path / "data/out/private.txt").write_text("private")
    (tmp_path / "elsewhere/far").mkdir(parents=True)
    (tmp_path / "elsewhere/far/link").symlink_to(tmp_path / "data/out/private.txt")
    return TestClient(create_app(), base_url="http://127.0.0.1:4300", follow_redirects=False)


def test_the_page_is_there_before_the_first_forecast_and_for_who_knows_the_login(client: TestClient) -> None:
    assert client.get("/health").text == "OK"
    for path in ("/", "/here/", "/here/index.js", "/here/here/page/state.js"):
        assert client.get(path).status_code == 401, path
        assert client.get(path, auth=("scs", "wrong")).status_code == 401, path
    assert client.get("/", auth=LOGIN).headers["location"] == "/far/", "the first of params.yaml"
    page = client.get("/here/", auth=LOGIN)
    assert page.status_code == 200 and "data-domains" in page.text and page.headers["cache-control"] == "no-cache"
    assert client.get("/here/here/page/state.js", auth=LOGIN).status_code == 404
    domains = read_params().domains
    for domain in domains.values():
        update_page(domain, domains.values())
    assert "scs.give" in client.get("/here/here/page/state.js?1", auth=LOGIN).text
    assert "scs.give" in client.get("/far/far/page/state.js", auth=LOGIN).text


def test_nothing_else_is_served_and_to_no_other_name_or_page(client: TestClient) -> None:
    outside = ["/here/private.txt", "/private.txt", "/here/here/../private.txt", "/here/here/%2e%2e/private.txt"]
    outside += [
        "/far/far/link",
        "/here/far/",
        "/far/here/",
        "/params.yaml",
        "/here/../params.yaml",
        "/here//etc/passwd",
    ]
    for path in outside:
        assert client.get(path, auth=LOGIN).status_code == 404, path
    assert client.get("/here/", auth=LOGIN, headers={"Host": "evil.example"}).status_code == 400
    assert client.get("/here/", auth=LOGIN, headers={"Origin": "http://evil.example"}).status_code == 403
    cross = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"}
    assert client.get("/here/index.js", auth=LOGIN, headers=cross).status_code == 403
    for method in ("PUT", "POST", "DELETE"):
        assert client.request(method, "/here/index.html", auth=LOGIN).status_code == 405


def test_without_a_login_in_the_environment_there_is_no_server(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD")
    with pytest.raises(Exception, match="MLFLOW_TRACKING_PASSWORD: not set"):
        create_app()
