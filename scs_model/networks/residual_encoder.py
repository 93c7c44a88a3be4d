"""A residual network's trunk, its weights under torchvision's names: an image in, features at four scales out."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from scs_model.layers.shortcut import Shortcut

SCALES = (4, 8, 16, 32)  # pixels of the image that a cell of each scale is wide


class Block(nn.Module):
    """Two 3×3 convolutions with a residual line around them; as a bottleneck a 3×3 one between two 1×1."""

    def __init__(self, in_channels: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        channels = 4 * width if bottleneck else width
        if bottleneck:
            plan = [(in_channels, width, 1, 1), (width, width, 3, stride), (width, channels, 1, 1)]
        else:
            plan = [(in_channels, width, 3, stride), (width, width, 3, 1)]
        self.count = len(plan)
        for number, (before, after, kernel, step) in enumerate(plan, start=1):
            self.add_module(f"conv{number}", nn.Conv2d(before, after, kernel, step, kernel // 2, bias=False))
            self.add_module(f"bn{number}", nn.BatchNorm2d(after))
        same = in_channels == channels and stride == 1
        shortcut = nn.Sequential(Shortcut(in_channels, channels, stride), nn.BatchNorm2d(channels))
        self.downsample = None if same else shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Return features (B, channels, H / stride, W / stride)."""
        h = x
        for number in range(1, self.count + 1):
            h = self.get_submodule(f"bn{number}")(self.get_submodule(f"conv{number}")(h))
            if number < self.count:
                h = torch.relu(h)
        return torch.relu(h + (x if self.downsample is None else self.downsample(x)))


class ResidualEncoder(nn.Module):
    """Trunk of a residual network.

    Width 64 with blocks (2, 2, 2, 2) is ResNet-18, (3, 4, 6, 3) ResNet-34, and with bottlenecks ResNet-50.

    Parameters
    ----------
    width : int
        Channels of the first convolution; the scales have 1, 2, 4 and 8 times as many, and with
        bottlenecks four times that.
    blocks : sequence of four int
        Blocks of each scale.
    bottleneck : bool
        Whether blocks are bottlenecks.

    Attributes
    ----------
    channels : list of four int
        Of each scale's features.

    Raises
    ------
    ValueError
        If there are not four scales of a block and a channel each.

    References
    ----------
    He et al. 2016, arXiv 1512.03385; the stride of a bottleneck is at its 3×3 convolution, as in torchvision.
    """

    def __init__(self, width: int, blocks: Sequence[int], bottleneck: bool = False) -> None:
        super().__init__()
        if width < 1 or len(blocks) != len(SCALES) or min(blocks) < 1:
            raise ValueError(f"an encoder has a width and 4 numbers of blocks, 1 or more; got {width} and {blocks}")
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.channels = [width * 2**scale * (4 if bottleneck else 1) for scale in range(len(SCALES))]
        before = width
        for scale, count in enumerate(blocks):
            steps = [2 if scale and index == 0 else 1 for index in range(count)]
            layer = nn.Sequential()
            for step in steps:
                layer.append(Block(before, width * 2**scale, step, bottleneck))
                before = self.channels[scale]
            self.add_module(f"layer{scale + 1}", layer)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return features (B, channels[i], H / s, W / s), s in 4, 8, 16, 32, of images (B, 3, H, W)."""
        x = x.contiguous(memory_format=torch.channels_last)
        z = max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        features = []
        for scale in range(len(SCALES)):
            z = self.get_submodule(f"layer{scale + 1}")(z)
            features.append(z)
        return features
