"""The check before a server's app, where it stands behind a proxy; the servers' own: tests/flows/test_servers.py."""

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from pipelines.common.guard import guarded


def client(login: str | None = None) -> TestClient:
    return TestClient(guarded(PlainTextResponse("content"), login, "/health"), base_url="http://prefect.example.org")


def test_a_proxys_names_are_served_and_their_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    assert client().get("/").status_code == 400
    monkeypatch.setenv("SCS_ALLOWED_HOSTS", "prefect.example.org, other.example.org")
    # TLS ends at the proxy: the page's scheme is another than ours.
    for origin in ("https://prefect.example.org", "http://prefect.example.org"):
        assert client().post("/", headers={"Origin": origin}).text == "content"
    for origin in ("https://other.example.org", "https://prefect.example.org:444", "https://example.org", "null"):
        assert client().post("/", headers={"Origin": origin}).status_code == 403


def test_the_login_may_have_any_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCS_ALLOWED_HOSTS", "prefect.example.org")
    asked = client("scs:pass:wörd ")
    assert asked.get("/").status_code == 401
    assert asked.get("/", auth=("scs", "pass:wörd ".encode())).text == "content"
    assert asked.get("/", auth=("scs", "pass:word")).status_code == 401
    assert asked.get("/health").text == "content"
    for other in ("/health/", "/Health", "/health/../", "/x/health"):
        assert asked.get(other).status_code == 401
    assert asked.post("/health").status_code == 401
