"""Training steps beside four busy processes, against the same steps alone; and what the short spinning costs alone.

    python benchmarks/train_beside.py [--model scs]

Network and batch are params.yaml's, the batch's content is random. A training is a process of its own: OpenMP reads its
settings when torch is imported. One of them has the package's setting of GOMP_SPINCOUNT, the other OpenMP's own. Rates
are medians of rounds in which both run once, alone and beside the four. It means little on a machine that isn't quiet.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

import pipelines  # noqa: F401 - before torch, which OpenMP comes with and `claims` imports

# isort: split
from claims import claim, say_where, status

ROUNDS, SECONDS = 5, 5.0
BUSY = 4
SPINS = {"package": None, "OpenMP": "300000"}  # GOMP_SPINCOUNT; the second is libgomp's default


def train(name: str) -> None:
    """Take steps for `SECONDS` after each line of standard input; print how many a second."""
    import torch

    from pipelines.nowcast.lightning_module import NowcastTraining
    from pipelines.params.read import read_params
    from scs_model import EncoderForecaster

    params = read_params(Path(__file__).parents[1] / "params.yaml")
    model, cut, size = params.models[name], params.index, params.train.batch_size
    network = EncoderForecaster(**model.network, subtasks=model.subtasks is not None, leads=cut.leads)
    module = NowcastTraining(network, model.switch, model.subtasks, inputs=cut.inputs, learning_rate=1e-4, seed=1)
    module.log = module.log_dict = lambda *_, **__: None  # type: ignore[method-assign]  # no trainer here
    window = 5 * torch.rand(size, cut.inputs + cut.leads, 1, cut.size, cut.size)
    batch = [window, torch.randn(size, cut.leads, 2, cut.size, cut.size)] if model.subtasks else window
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-4)

    def step() -> None:
        optimizer.zero_grad()
        module.training_step(batch, 0).backward()
        optimizer.step()

    step()
    print("ready", flush=True)
    for _ in sys.stdin:
        began, steps = time.perf_counter(), 0
        while time.perf_counter() - began < SECONDS:
            step()
            steps += 1
        print(steps / (time.perf_counter() - began), flush=True)


@contextmanager
def training(name: str, spins: str | None) -> Iterator[subprocess.Popen[str]]:
    """Start a training that waits to be told to take steps."""
    unset = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS"}
    environment = {key: value for key, value in os.environ.items() if key not in unset}
    environment |= {} if spins is None else {"GOMP_SPINCOUNT": spins}
    command = [sys.executable, __file__, "--model", name, "--train"]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("the training ended before its first step")
        yield process
        process.kill()


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep so many other processes busy."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def rate(process: subprocess.Popen[str]) -> float:
    """Return the steps a second of a training that has been started."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="scs", help="key of params.yaml's section models")
    parser.add_argument("--train", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.train:
        train(arguments.model)
        return 0
    say_where()
    alone: dict[str, list[float]] = {side: [] for side in SPINS}
    beside: dict[str, list[float]] = {side: [] for side in SPINS}
    with ExitStack() as started:
        sides = {side: started.enter_context(training(arguments.model, spins)) for side, spins in SPINS.items()}
        for _ in range(ROUNDS):
            for side, process in sides.items():
                alone[side].append(rate(process))
            with busy(BUSY):
                for side, process in sides.items():
                    beside[side].append(rate(process))
    for side in SPINS:
        print(f"{side}: {median(alone[side]):.2f} steps a second alone, {median(beside[side]):.2f} beside {BUSY}")
    claim("beside_four_processes", median(beside["package"]) / median(alone["package"]), ">=", 0.3)
    claim("alone, this spinning / OpenMP's own", median(alone["package"]) / median(alone["OpenMP"]), ">=", 0.95)
    return status()


if __name__ == "__main__":
    sys.exit(main())
