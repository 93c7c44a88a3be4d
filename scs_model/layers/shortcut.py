"""The 1×1 convolution with a stride that lies on a residual line."""

from torch import Tensor, nn


class Shortcut(nn.Conv2d):
    """A 1×1 convolution with a stride.

    Pixels are picked first: oneDNN's own gradient of such a convolution, channels last and fewer than 16, writes beyond
    its memory (torch 2.13.0).
    """

    def __init__(self, in_channels: int, channels: int, step: int) -> None:
        super().__init__(in_channels, channels, 1, bias=False)
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, channels, H / step, W / step)."""
        return super().forward(x[..., :: self.step, :: self.step])
