"""Members of a whole composite from a network's probabilities, against those of pysteps' STEPS.

    python benchmarks/members.py [--model scs_probabilities] [--members 24]

From four frames of 1226 × 760 pixels in memory to as many members on both sides at 12 lead times, motion and the
network's probabilities included, with the threads that each side takes by itself. No side keeps its members. The
weights are not trained: the time doesn't depend on them. Memory is the process's peak after ours and before pysteps is
imported. Each side runs once: STEPS takes minutes.

Then from the frames in memory to the cycle's published folder, all of its files: probabilities, percentiles, and
amounts of as many members; by the functions of operation, in the same process, whose start isn't counted.
"""

import argparse
import resource
import sys
from pathlib import Path

from claims import claim, say_where, status
from continent import measure, simulated
from forecast import LEADS, SHAPE, moving_rain, seconds
from probabilities import untrained

from pipelines.nowcast.methods.members import draw_members
from pipelines.nowcast.methods.steps import steps
from pipelines.params.read import read_params


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="scs_probabilities", help="a probabilistic key of params.yaml's models")
    parser.add_argument("--members", type=int, default=24, help="of both sides")
    asked = parser.parse_args()
    network, frames = untrained(asked.model), moving_rain()
    rates = network.rates
    say_where()

    def draw() -> None:
        exceedance = network.distribution(frames, LEADS, rates).exceedance
        for _ in draw_members(exceedance, rates, frames, count=asked.members, seed=1):
            pass

    ours = seconds(draw)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    ensemble = steps(members=asked.members, seed=1, pixel_m=1000.0, step_s=300)
    theirs = seconds(lambda: ensemble.distribution(frames, LEADS, []))
    print(f"{SHAPE[0]}×{SHAPE[1]}, {LEADS} lead times, {asked.members} members")
    print(f"seconds: ours {ours:.1f}, STEPS {theirs:.0f}")
    params = read_params(Path(__file__).parents[1] / "params.yaml")
    cycle = measure(simulated(SHAPE), params, asked.model, asked.members)
    for name, took in cycle.items():
        print(f"{name}:", ", ".join(f"{key} {value:.4g}" for key, value in took.items()))
    claim("members / STEPS", ours / theirs, "<=", 0.25)
    claim("frame to published, s", sum(took["seconds"] for took in cycle.values()), "<=", 90)
    claim("members peak memory, GB", peak, "<=", 4.0)
    sys.exit(status())


if __name__ == "__main__":
    main()
