"""A network's forecast of a whole composite, against pysteps' extrapolation.

    python benchmarks/forecast.py [--model scs]

From four frames of 1226 × 760 pixels in memory to 12 lead times, motion included on both sides, with the threads that
torch and OpenCV take by themselves. The weights are not trained: the time doesn't depend on them. Memory is the
process's peak after the network's forecasts and before pysteps is imported. Times are the best of three rounds in which
every side runs once.
"""

import argparse
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from claims import claim, say_where, status

from pipelines.nowcast.methods.extrapolation import extrapolation
from pipelines.nowcast.methods.network import NetworkForecaster
from pipelines.params.read import read_params
from pipelines.radar.frame import Rain
from scs_model import EncoderForecaster

SHAPE, FRAMES, LEADS, ROUNDS = (1226, 760), 4, 12, 3


def moving_rain(seed: int = 0) -> Rain:
    """Frames (FRAMES, H, W) of rain over about a fifth of the grid, mm/h, that moves by 3 columns and a row a frame."""
    noise = np.random.default_rng(seed).standard_normal((SHAPE[0] + FRAMES, SHAPE[1] + 3 * FRAMES)).astype(np.float32)
    field = sum(pixels * cv2.GaussianBlur(noise, (0, 0), pixels) for pixels in (2.0, 8.0, 24.0))
    rain = np.exp(3 * (field - np.quantile(field, 0.8))) * (field > np.quantile(field, 0.8))
    corners = [(FRAMES - t, 3 * (FRAMES - t)) for t in range(FRAMES)]
    return np.stack([rain[y : y + SHAPE[0], x : x + SHAPE[1]] for y, x in corners]).astype(np.float32)


def seconds(call: Callable[[], object]) -> float:
    """Time one call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="scs", help="key of params.yaml's section models")
    asked = parser.parse_args()
    params = read_params(Path(__file__).parents[1] / "params.yaml")
    network = NetworkForecaster(EncoderForecaster(**params.models[asked.model].network, leads=LEADS), FRAMES)
    frames = moving_rain()
    say_where()
    print(f"{asked.model} on {SHAPE[0]}×{SHAPE[1]}")
    network(frames, LEADS)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    extrapolation(frames, LEADS)
    times = [
        (seconds(lambda: network(frames, LEADS)), seconds(lambda: extrapolation(frames, LEADS))) for _ in range(ROUNDS)
    ]
    ours, theirs = (min(side) for side in zip(*times, strict=True))
    print(f"seconds: network {ours:.2f}, pysteps extrapolation {theirs:.2f}")
    claim("forecast network / pysteps extrapolation", ours / theirs, "<=", 2.0)
    claim("forecast peak memory, GB", peak, "<=", 4.0)
    sys.exit(status())


if __name__ == "__main__":
    main()
