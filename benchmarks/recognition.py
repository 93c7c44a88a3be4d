"""Training step of the 17-layer network of action recognition, against a naive loop over time.

    python benchmarks/recognition.py

One line a claim; exit status 1 if it is short. Both sides have the same weights, STSGD at p = 0.5, the main stream and
its loss over the second half of the frames; the naive side goes frame by frame, layer by layer, with `detach`. On a
processor an eighth of the paper's width, 4 clips of 8 frames of 64 × 64; on a GPU its width, 8 clips of 16 frames of
128 × 128.
"""

import sys
import time
from collections.abc import Callable

import torch
from claims import claim, say_where, status
from torch import Tensor
from torch.nn.functional import log_softmax, max_pool2d, nll_loss

from scs_model.networks.recognition import Recognizer
from scs_model.stsgd.switch import draw_open_paths

DEPTH, CLASSES, ROUNDS = 17, 14, 9
SIZES = {"cpu": (8, 4, 8, 64), "cuda": (64, 8, 16, 128)}  # width, B, T, rows and columns
WANTED = {"cpu": 0.95, "cuda": 2.0}


def naive(network: Recognizer, x: Tensor, open_paths: list[list[list[bool]]]) -> Tensor:
    """Run the main stream as one writes it down: a loop over time, layers within."""
    states: list[Tensor | None] = [None] * len(network.layers)
    outputs = []
    for t in range(len(x)):
        z = line = x[t]
        for index, layer in enumerate(network.layers):
            if index % 2:
                line = z
            spatial, temporal = open_paths[index][t]
            S = torch.relu(layer.spatial_norm(layer.spatial(z if spatial else z.detach())))
            u = layer.temporal(z if temporal else z.detach())
            before = states[index]
            if before is not None:
                u = u + layer.state(before)
            states[index] = c = torch.sigmoid(layer.gate_norm(u))
            z = S * (max_pool2d(c, layer.stride) if layer.stride > 1 else c)
            if index == 0:
                z = max_pool2d(z, 3, 2, 1)
            elif index % 2 == 0:
                z = z + network.shortcuts[index // 2 - 1](line)
        outputs.append(log_softmax(network.classifier(z.mean((-2, -1))), -1))
    return torch.stack(outputs)


def seconds(runs: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: min(ts) for name, ts in times.items()}  # others' load only adds


def measure(device: str) -> None:
    width, B, T, size = SIZES[device]
    torch.manual_seed(0)
    network = Recognizer("scs", DEPTH, width, CLASSES).to(device)
    x, labels = torch.randn(T, B, 3, size, size, device=device), torch.randint(CLASSES, (B,), device=device)
    draw = draw_open_paths("two_sided", 0.5, seed=1, step=0, rank=0, layers=DEPTH, steps=T)

    def step(forward: Callable[[], Tensor]) -> Callable[[], None]:
        def run() -> None:
            network.zero_grad()
            nll_loss(forward()[T // 2 :].mean(0), labels).backward()
            if device == "cuda":
                torch.cuda.synchronize()

        return run

    took = seconds(
        {
            "ours": step(lambda: network(x, open_paths=draw)[0]),
            "naive": step(lambda: naive(network, x, draw.tolist())),
        },
        ROUNDS,
    )
    ratio, wanted = took["naive"] / took["ours"], WANTED[device]
    print(f"{device}, ms a step:", {name: round(1e3 * s, 1) for name, s in took.items()})
    claim(f"{device} float32 17 layers, naive loop / ours", ratio, ">=", wanted)


def main() -> int:
    say_where()
    measure("cpu")
    if torch.cuda.is_available():
        print(torch.cuda.get_device_name())
        measure("cuda")
    return status()


if __name__ == "__main__":
    sys.exit(main())
