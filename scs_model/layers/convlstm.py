"""The ConvLSTM layer."""

import torch
from torch import Tensor, nn

from scs_model.layers.activation import tanh
from scs_model.layers.sequence import check_sequence, split_times, to_frames, to_sequence


class ConvLSTM(nn.Module):
    """ConvLSTM layer without peepholes.

    i, f, o = σ(W_x * x_t + W_h * h_{t-1} + b),  g = tanh(W_x * x_t + W_h * h_{t-1} + b)
    c_t = f ⊙ c_{t-1} + i ⊙ g,  h_t = o ⊙ tanh(c_t),  each with its own W_x, W_h and b

    Parameters
    ----------
    in_channels, channels : int
        Channels of x and of h.
    kernel : int
        Rows and columns of the kernels, odd.
    stride : int
        Of W_x: h and c lie on the coarser grid.

    References
    ----------
    Shi et al. 2015, arXiv 1506.04214, equation 3 without the terms W_c ∘ C.
    """

    def __init__(self, in_channels: int, channels: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.in_channels, self.channels, self.stride = in_channels, channels, stride
        padding = kernel // 2
        # The channels are those of i, f, o and g, in this order.
        self.input = nn.Conv2d(in_channels, 4 * channels, kernel, stride, padding)
        self.hidden = nn.Conv2d(channels, 4 * channels, kernel, padding=padding, bias=False)
        self.reach = padding, padding, padding

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Run over a whole sequence; raises ValueError if the input has another shape.

        Parameters
        ----------
        x : Tensor of shape (T, B, in_channels, H, W)
            H and W divisible by the stride.
        state : pair of Tensors of shape (B, channels, H / stride, W / stride), or None
            h_0 and c_0; None is zero.

        Returns
        -------
        h : Tensor of shape (T, B, channels, H / stride, W / stride)
        state : pair of Tensors of shape (B, channels, H / stride, W / stride)
            h_T and c_T.
        """
        check_sequence(x, self.in_channels, stride=self.stride)
        h, c = (None, None) if state is None else state
        hs = []
        for u in split_times(self.input(to_frames(x)), len(x)):
            if h is not None:
                u = u + self.hidden(h)
            gates, candidate = u.split([3 * self.channels, self.channels], dim=1)
            i, f, o = torch.sigmoid(gates).chunk(3, dim=1)
            g = tanh(candidate)
            # A zero c for the first step, so that f's gradient has the others' memory layout and none is copied.
            c = f * (torch.zeros_like(f) if c is None else c) + i * g
            h = o * tanh(c)
            hs.append(h)
        assert h is not None and c is not None
        return to_sequence(hs), (h, c)
