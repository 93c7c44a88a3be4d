"""Where MLflow keeps runs and models: the server named by MLFLOW_TRACKING_URI, else files under mlflow/."""

import logging
import os
import re
import sqlite3
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext

from pipelines.common.provenance import main_checkout

# Before mlflow is imported: it reads them once.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

from alembic.util import CommandError
from mlflow import MlflowClient, set_experiment, set_tracking_uri
from mlflow.entities import Run
from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES, MLFLOW_HTTP_REQUEST_TIMEOUT
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from pipelines.common.errors import Unavailable, in_short
from pipelines.common.files import exclusive
from pipelines.tracking.relocation import relocate

# Seconds that a request waits for a server that is silent, and how often it is tried again; where the environment has
# these variables it says. A server that is down should be told of, not waited for through minutes of retries.
PATIENT, BRIEF = (MLFLOW_HTTP_REQUEST_TIMEOUT.default, 3), (5, 1)
MLFLOW_HTTP_REQUEST_TIMEOUT.default, MLFLOW_HTTP_REQUEST_MAX_RETRIES.default = PATIENT

for noisy in ("mlflow", "alembic", "urllib3.connectionpool", "botocore"):  # the last with what keys of S3 signed
    logging.getLogger(noisy).setLevel(logging.ERROR)
# Advice on schemas, which doesn't hold for arrays.
for advice in (".*Inferred schema contains integer", ".*dataset source can be"):
    warnings.filterwarnings("ignore", advice)


def connect(experiment: str) -> MlflowClient:
    """Return a client of the tracking store, with the experiment in it and active, made where it isn't there yet.

    Raises
    ------
    Unavailable
        If the store can't be reached.
    """
    folder = main_checkout() / "mlflow"
    embedded = f"sqlite:///{folder / 'mlflow.db'}"
    uri = os.environ.get("MLFLOW_TRACKING_URI") or embedded  # or: it may be set and empty
    os.environ["MLFLOW_TRACKING_URI"] = uri  # stages started from here use the same
    set_tracking_uri(uri)
    try:
        # Two at once would both make the database's tables, and leave them broken for good.
        with exclusive(folder / ".lock") if uri == embedded else nullcontext():
            if uri == embedded:
                relocate(folder)
            client = MlflowClient()
            if client.get_experiment_by_name(experiment) is None:
                # A server knows where. For a database MLflow would take the working directory, which may be an
                # experiment's, gone when that ends.
                artifacts = None if uri.startswith("http") else (folder / "artifacts").as_uri()
                client.create_experiment(experiment, artifacts)
            set_experiment(experiment)
    except (MlflowException, SQLAlchemyError, sqlite3.Error, CommandError, ImportError, OSError) as error:
        # ImportError: a database's driver; CommandError: tables that can't be made or brought up to date.
        raise Unavailable(f"MLflow store {uri}: {in_short(error)}") from None
    return client


def find_runs(client: MlflowClient, experiment_id: str, tags: Mapping[str, str], order_by: list[str]) -> list[Run]:
    """Return an experiment's runs that have these very tags, whatever characters are in them."""
    # A filter can't quote its own quotes: any character stands for them, and runs of others are left out here.
    patterns = {key: re.sub(r"""[\\'"]""", "_", value) for key, value in tags.items()}
    wanted = " and ".join(f"tags.{key} LIKE '{pattern}'" for key, pattern in patterns.items())
    found = client.search_runs([experiment_id], wanted, order_by=order_by)
    return [run for run in found if tags.items() <= run.data.tags.items()]


@contextmanager
def briefly() -> Iterator[None]:
    """Wait 10 s for a server that is silent, not MLflow's minutes: for what has to be on time.

    It holds for the whole process while it is entered. Not for writing what would be lost.
    """
    MLFLOW_HTTP_REQUEST_TIMEOUT.default, MLFLOW_HTTP_REQUEST_MAX_RETRIES.default = BRIEF
    try:
        yield
    finally:
        MLFLOW_HTTP_REQUEST_TIMEOUT.default, MLFLOW_HTTP_REQUEST_MAX_RETRIES.default = PATIENT
