"""The outline decoder of 15 layers: a training step against a naive loop and ConvLSTM; and a polygon's time.

    python benchmarks/outline_decoder.py

One line a claim; exit status 1 if any is short. One core; 8 objects of 16 vertices, features of 16 channels and layers
of 16, float32, STSGD at p = 0.5. The naive side has the same weights, and goes vertex by vertex, layer by layer, with
`detach`. A polygon is of one image, from pixels to 20 vertices, from each of the first vertices that are tried; an
untrained network closes none by itself. Times are the best of rounds in which every side runs once: others' load only
adds. The polygon's is of the processor, which on one core is the clock's when nobody else is there.
"""

import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from claims import best_seconds, claim, say_where, status
from torch import Tensor

from pipelines.outline.annotator import Annotator, OutlineDescription
from scs_model.networks.outline import OutlineNetwork
from scs_model.stsgd.switch import draw_open_paths

DEPTH, B, T, ROUNDS, VERTICES = 15, 8, 16, 7, 20


def naive(network: OutlineNetwork, x: Tensor, open_paths: list[list[list[bool]]]) -> Tensor:
    """Run the decoder's layers as one writes them down: a loop over time, layers within."""
    layers, states, outputs = network.decoder.layers, [None] * DEPTH, []
    for t in range(len(x)):
        z = x[t]
        for index, layer in enumerate(layers):
            spatial, temporal = open_paths[index][t]
            S = torch.tanh(layer.spatial(z if spatial else z.detach()))
            u = layer.temporal(z if temporal else z.detach())
            if states[index] is not None:
                u = u + layer.state(states[index])
            states[index] = torch.sigmoid(u)
            h = S * states[index]
            z = z + h if z.shape == h.shape else h
        outputs.append(z)
    return torch.stack(outputs)


def measure_step() -> None:
    """Compare training steps of the decoder's layers."""
    torch.manual_seed(0)
    networks = {cell: OutlineNetwork(cell, DEPTH, 16, 16, 16) for cell in ("scs", "convlstm")}
    x = torch.randn(T, B, 22, 28, 28)
    draw = draw_open_paths("two_sided", 0.5, seed=1, step=0, rank=0, layers=DEPTH, steps=T)
    scs, convlstm = networks["scs"], networks["convlstm"]
    torch.testing.assert_close(naive(scs, x, draw.tolist()), scs.decoder(x)[0], rtol=1e-3, atol=1e-4)

    def step(forward: Callable[[], Tensor]) -> Callable[[], None]:
        def run() -> None:
            forward().square().mean().backward()

        return run

    took = best_seconds(
        {
            "ours": step(lambda: scs.decoder(x, None, draw)[0]),
            "naive": step(lambda: naive(scs, x, draw.tolist())),
            "convlstm": step(lambda: convlstm.decoder(x)[0]),
        },
        ROUNDS,
    )
    print("ms a step:", {name: round(1e3 * seconds) for name, seconds in took.items()})
    claim("outline decoder 15 layers, naive loop / ours", took["naive"] / took["ours"], ">=", 0.95)
    claim("outline decoder 15 layers, SCS / ConvLSTM", took["ours"] / took["convlstm"], "<=", 0.45)


def measure_polygon() -> None:
    """Time a polygon of a single image."""
    shape = {"cell": "scs", "depth": DEPTH, "channels": 16, "features": 16, "width": 16, "blocks": [1] * 4}
    network = OutlineNetwork(**shape).eval()
    torch.nn.init.constant_(network.closed_head.bias, -100.0)
    description = OutlineDescription.model_validate(
        {"method": "outline", "name": "m", "network": shape, "classes": [], "max_vertices": VERTICES}
    )
    annotator = Annotator(network, description)
    image = np.zeros((1, 224, 224, 3), np.uint8)

    def run() -> None:
        _, (outline,) = annotator.propose(annotator.encode(image))
        assert len(outline.points) == VERTICES

    seconds = best_seconds({"polygon": run}, ROUNDS, time.process_time)["polygon"]
    claim(f"outline of {VERTICES} vertices, 15 layers, seconds of a core", seconds, "<=", 0.3)


def main() -> int:
    torch.set_num_threads(1)
    say_where()
    measure_step()
    measure_polygon()
    return status()


if __name__ == "__main__":
    sys.exit(main())
