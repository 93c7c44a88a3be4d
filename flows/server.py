"""Prefect's server behind a check of who asks: ``uvicorn --factory flows.server:create_app``.

Prefect's own login is PREFECT_SERVER_API_AUTH_STRING. It holds for the API; Prefect checks no Host, and no Origin, of
websockets neither. So :mod:`pipelines.common.guard` stands before all of it.
"""

import os

# Before prefect is imported: it reads them once. What is set already stays.
os.environ.setdefault("PREFECT_SERVER_CSRF_PROTECTION_ENABLED", "true")
os.environ.setdefault("PREFECT_SERVER_CORS_ALLOWED_ORIGINS", "none")  # the UI is of this server, and needs none
os.environ.setdefault("PREFECT_UI_API_URL", "/api")  # of the name that the browser knows us by
# Runs with their logs and artifacts go after ..._DB_VACUUM_RETENTION_PERIOD seconds (Prefect's default: 90 days).
os.environ.setdefault("PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED", "events,flow_runs")

from prefect.server.api import server
from prefect.settings import get_current_settings
from starlette.types import ASGIApp

from pipelines.common.errors import UserError
from pipelines.common.guard import guarded


def create_app() -> ASGIApp:
    """Return Prefect's app, its API and its UI, behind the check; raises UserError if the environment has no login."""
    if not get_current_settings().server.api.auth_string:
        raise UserError("PREFECT_SERVER_API_AUTH_STRING: not set; see docs/operations.md, Login")
    return guarded(server.create_app(final=True))
