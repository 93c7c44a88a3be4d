"""Training step (forward and backward) of SCS layers, against a naive loop over time and against ConvLSTM.

    python benchmarks/recurrent.py [--size small] [--size large] [--size deep] [--device cuda] [--compiled]

One line a claim; exit status 1 if any is short. The sizes are three layers (B 2, T 10, 16→32 channels, 64 × 64) and
(B 8, T 20, 64 channels, 64 × 64), and eight (B 2, T 20, 32 channels, 64 × 64); outline form, STSGD at p = 0.5, no
subtasks. With ``--device cuda`` a GPU alone, in less than 8 minutes; without it all that there is. The naive loop is
timed as it is and with its weights and input in the channels-last layout, which our layers choose by themselves: the
first is the claim, the second is printed beside it. Times are the best of rounds in which every side runs once: others'
load only adds.
"""

import argparse
import functools
import itertools
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from claims import claim, has_bf16, say_where, status
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from scs_model.layers.convlstm import ConvLSTM
from scs_model.layers.scs import SCS
from scs_model.layers.stack import Stack
from scs_model.stsgd.switch import draw_open_paths

# B, T, channels in, channels of each layer, layers
SIZES = {"small": (2, 10, 16, 32, 3), "large": (8, 20, 64, 64, 3), "deep": (2, 20, 32, 32, 8)}
GRID, ROUNDS = 64, {"small": 15, "large": 4, "deep": 6}
DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}


class NaiveSCS(nn.Module):
    """The same equations as one writes them down: a loop over time, layers within, `detach` for the switch."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        conv = functools.partial(nn.Conv2d, kernel_size=3, padding=1)
        pairs = list(itertools.pairwise(widths))
        self.spatial = nn.ModuleList(conv(*pair) for pair in pairs)
        self.temporal = nn.ModuleList(conv(*pair) for pair in pairs)
        self.state = nn.ModuleList(conv(c, c, bias=False) for _, c in pairs)

    def forward(self, x: Tensor, open_paths: list[list[list[bool]]]) -> Tensor:
        """Run over (T, B, C, H, W)."""
        states: list[Tensor | None] = [None] * len(self.spatial)
        out = []
        for t in range(len(x)):
            z = x[t]
            for index in range(len(states)):
                spatial, temporal = open_paths[index][t]
                u = self.temporal[index](z if temporal else z.detach())
                c = states[index]
                if c is not None:
                    u = u + self.state[index](c)
                states[index] = c = torch.sigmoid(u)
                z = torch.tanh(self.spatial[index](z if spatial else z.detach())) * c
            out.append(z)
        return torch.stack(out)


def sides(size: str, device: str) -> dict[str, tuple[nn.Module, tuple]]:
    """Each side's module and the arguments of its call."""
    B, T, c_in, c, layers = SIZES[size]
    widths = [c_in] + [c] * layers
    torch.manual_seed(0)
    x = torch.randn(T, B, c_in, GRID, GRID, device=device)
    x_nhwc = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (T, B))
    draw = draw_open_paths("two_sided", 0.5, seed=1, step=0, rank=0, layers=layers, steps=T)
    pairs = list(itertools.pairwise(widths))
    return {
        "scs": (Stack(SCS(*pair) for pair in pairs).to(device), (x, None, draw)),
        "convlstm": (Stack(ConvLSTM(*pair) for pair in pairs).to(device), (x,)),
        "naive": (NaiveSCS(widths).to(device), (x, draw.tolist())),
        "naive_nhwc": (
            NaiveSCS(widths).to(device, memory_format=torch.channels_last),
            (x_nhwc, draw.tolist()),
        ),
    }


def step(module: nn.Module, arguments: tuple, dtype: torch.dtype, device: str) -> None:
    with torch.autocast(device, dtype, enabled=dtype != torch.float32):
        y = module(*arguments)
        y = y[0] if isinstance(y, tuple) else y
    module.zero_grad()
    y.float().square().mean().backward()
    if device == "cuda":
        torch.cuda.synchronize()


def seconds(runs: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
        run()
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: min(ts) for name, ts in times.items()}


def peak_megabytes(side: str, size: str, dtype: str, device: str) -> float:
    """Measure what the first step needs beyond model and input; on the CPU in a process of its own."""
    if device == "cpu":
        command = [sys.executable, __file__, "--memory", side, size, dtype]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    module, arguments = sides(size, device)[side]
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step(module, arguments, DTYPES[dtype], device)
    return (torch.cuda.max_memory_allocated() - before) / 1e6


def print_own_memory(side: str, size: str, dtype: str) -> None:
    module, arguments = sides(size, "cpu")[side]

    def resident(line: str) -> float:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.split(f"{line}:")[1].split()[0]) / 1e3

    before = resident("VmRSS")
    step(module, arguments, DTYPES[dtype], "cpu")
    print(resident("VmHWM") - before)


def convolution_rate(device: str) -> float:
    """FLOP/s of a bf16 convolution of the large size, forward."""
    B, T, _, c = SIZES["large"]
    x = torch.randn(B * T, c, GRID, GRID, device=device, dtype=torch.bfloat16)
    x = x.contiguous(memory_format=torch.channels_last)
    conv = nn.Conv2d(c, c, 3, padding=1, bias=False).to(device, torch.bfloat16, memory_format=torch.channels_last)

    def run() -> None:
        with torch.no_grad():
            for _ in range(10):
                conv(x)
        torch.cuda.synchronize()

    return 10 * 2 * 9 * c * c * GRID**2 * B * T / seconds({"conv": run}, 10)["conv"]


def measure(device: str, sizes: list[str], compiled: bool, dtypes: list[str]) -> None:
    targets = {"float32": 0.95, "bf16": 1.1} if device == "cpu" else dict.fromkeys(DTYPES, 3.0)
    for size in sizes:
        all_sides = sides(size, device)
        runs = {
            f"{dtype} {name}": functools.partial(
                step, torch.compile(module) if compiled else module, arguments, DTYPES[dtype], device
            )
            for dtype in dtypes
            for name, (module, arguments) in all_sides.items()
        }
        took = seconds(runs, ROUNDS[size])
        print(f"{device} {size}, ms a step:", {name: round(1e3 * s, 1) for name, s in took.items()})
        for dtype in dtypes:
            what = f"{device} {'compiled' if compiled else 'eager'} {size} {dtype}"
            ours = took[f"{dtype} scs"]
            claim(f"{what} naive loop / ours", took[f"{dtype} naive"] / ours, ">=", targets[dtype])
            print(f"  beside it, channels-last naive loop / ours: {took[f'{dtype} naive_nhwc'] / ours:.3f}")
            claim(f"{what} SCS / ConvLSTM time", ours / took[f"{dtype} convlstm"], "<=", 0.45)
            if not compiled:
                peaks = {name: peak_megabytes(name, size, dtype, device) for name in ("scs", "convlstm")}
                print(f"  MB at the peak: {peaks['scs']:.0f} and {peaks['convlstm']:.0f}")
                claim(f"{what} SCS / ConvLSTM memory", peaks["scs"] / peaks["convlstm"], "<=", 0.6)
        if device == "cpu" and len(dtypes) == 2:
            claim(f"cpu {size} ours, float32 / bf16", took["float32 scs"] / took["bf16 scs"], ">=", 1.5)
        if device == "cuda":
            with FlopCounterMode(display=False) as counter:
                step(*all_sides["scs"], torch.bfloat16, device)
            share = counter.get_total_flops() / took["bf16 scs"] / convolution_rate(device)
            print(f"cuda {size}: share of the card's bf16 convolution rate {share:.2f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", action="append", choices=list(SIZES), help="given once or more; all by default")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="by default what there is")
    parser.add_argument("--compiled", action="store_true", help="both sides compiled (minutes of compiling)")
    parser.add_argument("--memory", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory:
        print_own_memory(*arguments.memory)
        return 0
    say_where()
    sizes = arguments.size or list(SIZES)
    if arguments.device != "cuda":
        measure("cpu", sizes, arguments.compiled, list(DTYPES) if has_bf16() else ["float32"])
    if arguments.device == "cuda" or (arguments.device is None and torch.cuda.is_available()):
        if not torch.cuda.is_available():
            parser.error("--device cuda: there is no GPU")
        print(torch.cuda.get_device_name())
        measure("cuda", sizes, arguments.compiled, list(DTYPES))
    return status()


if __name__ == "__main__":
    sys.exit(main())
