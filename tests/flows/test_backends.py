"""Both servers on a real PostgreSQL and artifacts on S3 (moto's server), by environment variables alone."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from conftest import REPOSITORY, free_port, write_params
from postgresql import POSTGRES, serve_postgresql
from s3_server import client, serve_s3

from pipelines.common.login import read_login

pytestmark = pytest.mark.full

# What a stage does with the store: a model logged and registered, an alias, and the model loaded again.
ROUND = """
import json, sys
from pathlib import Path
from pipelines.nowcast.registered_model import load
from pipelines.nowcast.specification import RADAR
folder = Path("model")
folder.mkdir()
(folder / "model.json").write_text(json.dumps({"method": "extrapolation", "inputs": 3}))
RADAR.set_alias("champion", RADAR.ensure_version("extrapolation", folder, {"csi_mean": 0.5}), "for the test")
print(load("models:/radar-nowcast@champion").method)
"""


@pytest.fixture
def postgresql() -> Iterator[str]:
    """Serve a cluster of its own on 127.0.0.1 with databases mlflow and prefect; gives USER@HOST:PORT."""
    if not POSTGRES:
        pytest.skip("no PostgreSQL: apt-get install postgresql")
    with serve_postgresql() as cluster:
        yield cluster.address


@pytest.fixture
def s3() -> Iterator[str]:
    """Serve S3 with the bucket ``models``; gives its address."""
    with serve_s3("models") as address:
        yield address


def rows(database: str, query: str) -> list[tuple]:
    user, _, host = database.partition("@")
    address, _, port_and_name = host.partition(":")
    port, _, name = port_and_name.partition("/")
    with psycopg2.connect(host=address, port=port, user=user, dbname=name) as connection:
        cursor = connection.cursor()
        cursor.execute(query)
        return cursor.fetchall()


def test_runs_registry_and_flows_on_postgresql_and_artifacts_on_s3(tmp_path: Path, postgresql: str, s3: str) -> None:
    (tmp_path / "dvc.yaml").touch()
    write_params(tmp_path, {"worked": {}})
    ports = str(free_port()), str(free_port()), str(free_port())
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    environment |= {
        "PREFECT_HOME": f"{tmp_path}/data/prefect",
        "PYTHONPATH": str(REPOSITORY),
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "MLFLOW_S3_ENDPOINT_URL": s3,
        "MLFLOW_ARTIFACTS_DESTINATION": "s3://models/mlflow",
        "MLFLOW_BACKEND_STORE_URI": f"postgresql+psycopg2://{postgresql}/mlflow",
        "PREFECT_API_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://{postgresql}/prefect",
    }
    command = [
        sys.executable,
        "-m",
        "flows.serve",
        "--prefect-port",
        ports[0],
        "--mlflow-port",
        ports[1],
        "--page-port",
        ports[2],
    ]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as serve:
        try:
            assert serve.stdout is not None
            while line := serve.stdout.readline():
                if line.startswith("Prefect: "):
                    break
            assert line, "flows.serve ended before it served"
            # A client has the servers' addresses and the login, and no key to S3 or the databases.
            ours = {k: v for k, v in environment.items() if not k.startswith(("AWS_", "MLFLOW_", "PREFECT_API"))}
            ours |= {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{ports[1]}", **read_login(tmp_path)}
            done = subprocess.run(
                [sys.executable, "-c", ROUND], cwd=tmp_path, env=ours, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
            assert done.stdout.splitlines()[-1] == "extrapolation"
        finally:
            serve.send_signal(signal.SIGINT)
            serve.wait(300)
    assert rows(f"{postgresql}/mlflow", "select name, version from model_versions") == [("radar-nowcast", 1)]
    assert rows(f"{postgresql}/prefect", "select name from deployment where name = 'worked'") == [("worked",)] * 3
    keys = [one["Key"] for one in client(s3).list_objects_v2(Bucket="models")["Contents"]]
    assert any(key.startswith("mlflow/") and key.endswith("model.json") for key in keys)
    assert not list((tmp_path / "mlflow").iterdir()), "nothing is kept in the folder of the embedded store"
