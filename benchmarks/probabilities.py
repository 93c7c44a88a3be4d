"""A network's probabilities of a whole composite, against those of pysteps' STEPS with 24 members.

    python benchmarks/probabilities.py [--model scs_probabilities] [--members 24]

From four frames of 1226 × 760 pixels in memory to probabilities at every one of index.rates and 12 lead times, motion
included on both sides, with the threads that each side takes by itself. The weights are not trained: the time doesn't
depend on them. Memory is the process's peak after the network's forecasts and before pysteps is imported. The network's
time is the best of three, STEPS runs once: it takes minutes.
"""

import argparse
import resource
import sys
from pathlib import Path

from claims import claim, say_where, status
from forecast import FRAMES, LEADS, SHAPE, moving_rain, seconds

from pipelines.nowcast.methods.network import ProbabilisticNetworkForecaster
from pipelines.nowcast.methods.normalisation import thresholds
from pipelines.nowcast.methods.steps import steps
from pipelines.params.read import read_params
from scs_model import EncoderForecaster


def untrained(model: str) -> ProbabilisticNetworkForecaster:
    """Return a probabilistic network of params.yaml as it is before its training."""
    params = read_params(Path(__file__).parents[1] / "params.yaml")
    rates = params.index.rates
    built = EncoderForecaster(**params.models[model].network, leads=LEADS, thresholds=thresholds(rates))
    return ProbabilisticNetworkForecaster(built, FRAMES, rates, "mean")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="scs_probabilities", help="a probabilistic key of params.yaml's models")
    parser.add_argument("--members", type=int, default=24, help="of STEPS")
    asked = parser.parse_args()
    network, frames = untrained(asked.model), moving_rain()
    rates = network.rates
    say_where()
    print(f"{asked.model} on {SHAPE[0]}×{SHAPE[1]}, {len(rates)} rates, {LEADS} lead times")
    ours = min(seconds(lambda: network.distribution(frames, LEADS, rates)) for _ in range(3))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    ensemble = steps(members=asked.members, seed=1, pixel_m=1000.0, step_s=300)
    theirs = seconds(lambda: ensemble.distribution(frames, LEADS, rates))
    print(f"seconds: network {ours:.1f}, STEPS with {asked.members} members {theirs:.0f}")
    claim("probabilities network / STEPS", ours / theirs, "<=", 0.1)
    claim("probabilities peak memory, GB", peak, "<=", 4.0)
    sys.exit(status())


if __name__ == "__main__":
    main()
