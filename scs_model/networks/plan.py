"""The layers of the stand-alone network: how many, how wide, and where the grid becomes coarser."""

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

from torch import nn

from scs_model.layers.shortcut import Shortcut

SCALES = 4


class LayerPlan(NamedTuple):
    """What one layer of the network is: channels in and out, rows and columns of its kernel, and its stride."""

    in_channels: int
    channels: int
    kernel: int
    stride: int


def plan_layers(depth: int, width: int) -> list[LayerPlan]:
    """Lay out ``depth`` layers: the first, then the others spread evenly over four scales, the finer ones first.

    Each scale has twice the channels of the one before and half its rows and columns. Of depth 17 and width 64 it is
    the paper's network: channels 64·5, 128·4, 256·4, 512·4, stride 2 in layers 1, 6, 10 and 14.

    Raises
    ------
    ValueError
        If there is no layer, or no channel.
    """
    if depth < 1 or width < 1:
        raise ValueError(f"depth and width are 1 or more; got {depth} and {width}")
    plan = [LayerPlan(3, width, 7, 2)]
    for scale in range(SCALES):
        layers = (depth - 1) // SCALES + (scale < (depth - 1) % SCALES)
        for index in range(layers):
            stride = 2 if scale and index == 0 else 1
            plan.append(LayerPlan(plan[-1].channels, width * 2**scale, 3, stride))
    return plan


def plan_shortcut(pair: Sequence[LayerPlan]) -> nn.Module:
    """Make what lies on the residual line around a pair of layers."""
    in_channels, channels = pair[0].in_channels, pair[-1].channels
    stride = prod(layer.stride for layer in pair)
    if in_channels == channels and stride == 1:
        return nn.Identity()
    return Shortcut(in_channels, channels, stride)
