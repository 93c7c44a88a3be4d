"""MLflow's server behind a check of who asks: ``mlflow server --app-name scs``.

MLflow takes state-changing requests from any page of any port of this machine, asks nothing about other requests, and
checks no Host for some paths; its basic-auth app leaves that as it is. So :mod:`pipelines.common.guard` stands before
it, with the login of its clients.
"""

import os

from starlette.types import ASGIApp

from pipelines.common.guard import LOCAL, behind_login, proxy_names
from pipelines.tracking import relocation

# Before mlflow is imported: it reads them once. What is set already stays.
NAMES = [*LOCAL, *proxy_names()]
os.environ.setdefault("MLFLOW_SERVER_ALLOWED_HOSTS", ",".join(f"{name},{name}:*" for name in NAMES))
os.environ.setdefault("MLFLOW_SERVER_CORS_ALLOWED_ORIGINS", ",".join(f"https://{name}" for name in proxy_names()))
os.environ.setdefault("MLFLOW_SERVER_X_FRAME_OPTIONS", "SAMEORIGIN")


def create_app() -> ASGIApp:
    """Return MLflow's app behind the check; raises UserError if the environment lacks the login that there is to be."""
    from mlflow.server.fastapi_app import app

    relocation.main()
    return behind_login(app, unguarded="/health")
