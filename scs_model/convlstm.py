"""The ConvLSTM layer."""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d


class ConvLSTM(nn.Module):
    """ConvLSTM layer without peepholes.

    i, f, o = σ(W * [x_t, h_{t-1}] + b),  g = tanh(W * [x_t, h_{t-1}] + b)
    c_t = f ⊙ c_{t-1} + i ⊙ g,  h_t = o ⊙ tanh(c_t)

    Parameters
    ----------
    in_channels, channels : int
        Channels of x and of h.
    kernel : int
        Rows and columns of the kernels, odd.

    References
    ----------
    Shi et al. 2015, Convolutional LSTM Network, arXiv 1506.04214, equation 3 without its peephole terms.
    """

    switched = False

    def __init__(self, in_channels: int, channels: int, kernel: int = 3) -> None:
        super().__init__()
        self.channels = channels
        self.input = nn.Conv2d(in_channels, 4 * channels, kernel, padding=kernel // 2)
        self.hidden = nn.Conv2d(channels, 4 * channels, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Run over a whole sequence.

        Parameters
        ----------
        x : Tensor of shape (T, B, C, H, W)
        state : pair of Tensors of shape (B, channels, H, W), or None
            h_0 and c_0; None is zero.

        Returns
        -------
        h : Tensor of shape (T, B, channels, H, W)
        state : pair of Tensors of shape (B, channels, H, W)
            h_T and c_T.
        """
        T, B = x.shape[:2]
        u = self.input(x.flatten(0, 1)).unflatten(0, (T, B))
        weight = self.hidden.weight.to(u.dtype)
        if state is None:
            zero = u.new_zeros(B, self.channels, *u.shape[3:])
            state = zero, zero
        h, c = state
        hs = []
        for t in range(T):
            i, f, g, o = (u[t] + conv2d(h, weight, padding=self.hidden.padding)).chunk(4, dim=1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            hs.append(h)
        return torch.stack(hs), (h, c)
