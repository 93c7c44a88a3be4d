"""A layer without time, in the shape of a recurrent one: what a network does frame by frame."""

import torch
from torch import Tensor, nn

from scs_model.layers.sequence import check_sequence, to_frames


class Convolution(nn.Module):
    """Convolution, batch norm and ReLU of each frame by itself.

    h_t = ReLU(BN(W * x_t))

    Parameters
    ----------
    in_channels, channels : int
        Channels of x and of h.
    kernel : int
        Rows and columns of W, odd.
    stride : int
        Of W.
    """

    def __init__(self, in_channels: int, channels: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.in_channels, self.channels, self.stride = in_channels, channels, stride
        self.spatial = nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, state: None = None) -> tuple[Tensor, None]:
        """Run over a whole sequence (T, B, in_channels, H, W); there is no state.

        Returns
        -------
        h : Tensor of shape (T, B, channels, H / stride, W / stride)
        state : None

        Raises
        ------
        ValueError
            If the input has another shape.
        """
        check_sequence(x, self.in_channels, stride=self.stride)
        return torch.relu(self.norm(self.spatial(to_frames(x)))).unflatten(0, x.shape[:2]), None
