"""From the start of a process to the first radar frame that it has read.

    python benchmarks/start.py [--rounds 3]

Of a cycle as a Prefect worker starts it, with a server on this machine, and of `scs forecast` by the champion, a
network (not trained: the time doesn't depend on it), on a composite of 1226 × 760 pixels that has been there for longer
than the inbox waits; and `scs --help` as a whole. Each has run once before, so that files are in memory; of the others
the fastest counts. What is imported before is in tests/test_start.py.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from claims import claim, say_where, status
from forecast import FRAMES, moving_rain
from operation import ROOT, configure, register, write_frame
from prefect.settings import PREFECT_API_URL
from prefect.testing.utilities import prefect_test_harness

# Both read a frame by this one function; each room has it under its own name.
TOLD = """
import sys, time
import pipelines.operation.{room} as room
guarded = room.guarded
def told(*arguments, **more):
    frame = guarded(*arguments, **more)
    print("READ", time.time(), flush=True)
    return frame
room.guarded = told
"""
CYCLE = "from flows.forecast import forecast" + TOLD.format(room="inbox") + "forecast('here')"
COMMAND = TOLD.format(room="sources") + "from pipelines.cli import main; sys.argv = ['scs', *sys.argv[1:]]; main()"


def to_first_frame(code: str, *arguments: str) -> float:
    """Run a process; return the seconds from its start to the first frame that it has read."""
    environment = os.environ | {"PREFECT_API_URL": PREFECT_API_URL.value(), "PYTHONPATH": str(ROOT)}
    began = time.time()
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    read = [float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("READ")]
    if not read:
        sys.exit(done.stderr[-2000:])
    return read[0] - began


def seconds_of_help() -> float:
    """Return how long `scs --help` takes."""
    began = time.time()
    subprocess.run([Path(sys.executable).with_name("scs"), "--help"], capture_output=True, check=True)
    return time.time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = range(parser.parse_args().rounds + 1)
    say_where()
    helped = min([seconds_of_help() for _ in rounds][1:])
    with tempfile.TemporaryDirectory() as temporary, prefect_test_harness(server_startup_timeout=120):
        os.chdir(temporary)
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        configure(Path())
        register("scs", Path("model"))
        long_ago = time.time() - 60
        cycles, frames = [], moving_rain()
        for number in range(FRAMES):
            os.utime(write_frame(number, frames[number]), (long_ago, long_ago))
        commands = [to_first_frame(COMMAND, "forecast", "data/inbox", "--out", f"data/out/{round}") for round in rounds]
        for number in rounds:
            cycles.append(to_first_frame(CYCLE))
            os.utime(write_frame(FRAMES + number, frames[-1]), (long_ago, long_ago))
    claim("a cycle's start to its first frame, s", min(cycles[1:]), "<=", 6)
    claim("scs forecast to its first frame, s", min(commands[1:]), "<=", 5)
    claim("scs --help, s", helped, "<=", 0.7)
    sys.exit(status())


if __name__ == "__main__":
    main()
