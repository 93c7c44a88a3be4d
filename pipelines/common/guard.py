"""A check before a web server's app: it is called by its own name, from its own pages, by who knows the password.

A browser sends to 127.0.0.1 whatever any page asks it to, and a page whose name is made to point here (DNS rebinding)
reads the answers, too. So names and pages that aren't the server's are refused, on all paths and for websockets, before
the app does anything.
"""

import base64
import binascii
import hmac
import os
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.common.errors import UserError

LOCAL = ("127.0.0.1", "localhost")
# What the servers' pages may ask for: nothing of other servers, be it a picture in a text from outside or statistics.
POLICY = (
    "connect-src 'self'; img-src 'self' data: blob:; form-action 'self'; base-uri 'self'; object-src 'none'; "
    "frame-ancestors 'self'"
)


def proxy_names() -> list[str]:
    """Return the names by which a reverse proxy hands requests on: SCS_ALLOWED_HOSTS, comma-separated."""
    return [name.strip() for name in os.environ.get("SCS_ALLOWED_HOSTS", "").split(",") if name.strip()]


def guarded(app: ASGIApp, login: str | None = None, unguarded: str | None = None) -> ASGIApp:
    """Put the check before an app.

    Parameters
    ----------
    app : ASGI application
    login : str, optional
        ``USER:PASSWORD`` that each request has to bring (HTTP basic authentication); none where the app asks itself.
    unguarded : str, optional
        The one path whose GET needs no login.

    Returns
    -------
    ASGI application
        Answers 400 to a foreign Host, 403 to a foreign page, 401 without the login.
    """
    return TrustedHostMiddleware(Guard(app, login, unguarded), [*LOCAL, *proxy_names()], www_redirect=False)


def behind_login(app: ASGIApp, unguarded: str) -> ASGIApp:
    """Put the check before an app, with the login that its clients know MLflow's server by.

    That is MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD; MLFLOW_BASIC_AUTH=false leaves it to a proxy.

    Raises
    ------
    UserError
        If the environment lacks the login that there is to be.
    """
    if os.environ.get("MLFLOW_BASIC_AUTH", "true").lower() == "false":
        return guarded(app)
    user, password = (os.environ.get(f"MLFLOW_TRACKING_{part}") for part in ("USERNAME", "PASSWORD"))
    if not user or not password:
        raise UserError("MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD: not set; see docs/operations.md, Login")
    return guarded(app, f"{user}:{password}", unguarded)


class Guard:
    """The check of page and login; see :func:`guarded`."""

    def __init__(self, app: ASGIApp, login: str | None, unguarded: str | None) -> None:
        self.app, self.login, self.unguarded = app, login, unguarded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a refusal, or let the app answer."""
        refusal = None if scope["type"] == "lifespan" else self._refusal(scope, Headers(scope=scope))

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).append("Content-Security-Policy", POLICY)
            await send(message)

        await (refusal or self.app)(scope, receive, send_with_policy)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        is_get = scope.get("method") == "GET"  # a websocket has no method
        if _foreign(headers, is_get):
            return PlainTextResponse("from a foreign page\n", 403)
        if self.login is None or (is_get and scope["path"] == self.unguarded) or _knows(headers, self.login):
            return None
        return PlainTextResponse("log in\n", 401, {"WWW-Authenticate": 'Basic realm="data/servers.env"'})


def _foreign(headers: Headers, is_get: bool) -> bool:
    """Whether a browser says that a page of another server asks; other clients say nothing of the kind.

    Fetch metadata tell where Origin is left out, as for pictures and scripts. Who follows a link, by GET into a window
    of its own, is let in.
    """
    for origin in headers.getlist("origin"):
        try:
            netloc = urlsplit(origin).netloc  # none in "null"
        except ValueError:
            return True
        if netloc.lower() != headers["host"].lower():
            return True
    follows_link = (
        is_get and headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    )
    return headers.get("sec-fetch-site", "none") not in ("same-origin", "none") and not follows_link


def _knows(headers: Headers, login: str) -> bool:
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    try:
        given = base64.b64decode(credentials, validate=True)
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        return False
    return scheme.lower() == "basic" and hmac.compare_digest(given, login.encode())
