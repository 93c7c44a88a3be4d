"""The check before a server's app, where it stands behind a proxy; the servers' own: tests/flows/test_servers.py."""

import asyncio

import httpx
import pytest
from starlette.responses import PlainTextResponse

from pipelines.common.guard import guarded


def ask(method: str, path: str, *, login: str | None = None, **request) -> httpx.Response:
    async def answer() -> httpx.Response:
        transport = httpx.ASGITransport(guarded(PlainTextResponse("content"), login, "/health"))
        async with httpx.AsyncClient(transport=transport, base_url="http://prefect.example.org") as client:
            return await client.request(method, path, **request)

    return asyncio.run(answer())


def test_a_proxys_names_are_served_and_their_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask("GET", "/").status_code == 400
    monkeypatch.setenv("SCS_ALLOWED_HOSTS", "prefect.example.org, other.example.org")
    # TLS ends at the proxy: the page's scheme is another than ours.
    for origin in ("https://prefect.example.org", "http://prefect.example.org"):
        assert ask("POST", "/", headers={"Origin": origin}).text == "content"
    for origin in ("https://other.example.org", "https://prefect.example.org:444", "https://example.org", "null"):
        assert ask("POST", "/", headers={"Origin": origin}).status_code == 403


def test_the_login_may_have_any_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCS_ALLOWED_HOSTS", "prefect.example.org")
    login = "scs:pass:wörd "
    assert ask("GET", "/", login=login).status_code == 401
    assert ask("GET", "/", login=login, auth=("scs", "pass:wörd ".encode())).text == "content"
    assert ask("GET", "/", login=login, auth=("scs", "pass:word")).status_code == 401
    assert ask("GET", "/health", login=login).text == "content"
    for other in ("/health/", "/Health", "/health/../", "/x/health"):
        assert ask("GET", other, login=login).status_code == 401
    assert ask("POST", "/health", login=login).status_code == 401
