"""The first ten minutes: ``python benchmarks/demo.py`` runs ``make demo`` twice in a clone, by this environment."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from claims import claim, say_where, status

ROOT = Path(__file__).resolve().parents[1]


def demo(clone: Path) -> tuple[float, float]:
    """Run it; return the seconds until it has said where the first forecast lies, and until its end."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PREFECT_", "DVC_"))}
    environment = ours | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(clone)}
    command = ["make", "--assume-old=.venv/installed", "demo"]
    began, first = time.perf_counter(), float("nan")
    with subprocess.Popen(command, cwd=clone, env=environment, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        for line in run.stdout:
            sys.stdout.write(f"{time.perf_counter() - began:6.1f} {line}")
            if line.startswith("data/first_forecast/") and first != first:
                first = time.perf_counter() - began
    if run.returncode:
        sys.exit(run.returncode)
    return first, time.perf_counter() - began


def main() -> None:
    """Measure both runs."""
    say_where()
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
        (clone / ".venv").symlink_to(sys.prefix)
        first, whole = demo(clone)
        _, again = demo(clone)
    claim("demo_first_forecast_s", first, "<=", 120)
    claim("demo_s", whole, "<=", 480)
    claim("demo_again_s", again, "<=", 10)


if __name__ == "__main__":
    main()
    sys.exit(status())
