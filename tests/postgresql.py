"""A PostgreSQL of the tests' own, which can go away and come back."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from conftest import free_port

POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
HERE = "127.0.0.1"


@dataclass(frozen=True)
class Cluster:
    """A cluster in a folder, with databases mlflow and prefect; ``address`` is USER@HOST:PORT."""

    folder: Path
    port: int

    @property
    def address(self) -> str:
        return f"scs@{HERE}:{self.port}"

    def start(self) -> None:
        options = f"-h {HERE} -p {self.port} -k {self.folder} -F"
        self.tool("pg_ctl", "-D", f"{self.folder}/data", "-w", "-l", f"{self.folder}/log", "-o", options, "start")

    def stop(self) -> None:
        """Stop it; who is connected is thrown out."""
        self.tool("pg_ctl", "-D", f"{self.folder}/data", "-m", "fast", "stop")

    def tool(self, name: str, *arguments: str) -> None:
        user = {"user": "postgres"} if os.getuid() == 0 else {}  # it refuses to run as root
        tool = POSTGRES[-1].with_name(name)
        subprocess.run([tool, *arguments], check=True, cwd=self.folder, stdout=subprocess.DEVNULL, **user)


@contextmanager
def serve_postgresql() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="postgresql-", dir="/tmp") as scratch:
        if os.getuid() == 0:
            subprocess.run(["chown", "postgres", scratch], check=True)
        cluster = Cluster(Path(scratch), free_port())
        cluster.tool("initdb", "-D", f"{scratch}/data", "-U", "scs", "-A", "trust", "--no-sync")
        cluster.start()
        try:
            for database in ("mlflow", "prefect"):
                cluster.tool("createdb", "-h", HERE, "-p", str(cluster.port), "-U", "scs", database)
            yield cluster
        finally:
            cluster.stop()
