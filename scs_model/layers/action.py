"""The SCS layer in the action form: batch norms, a stride, and a gate that keeps the input's resolution."""

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from scs_model.layers.semi_coupled import SemiCoupled


class StreamNorm(nn.BatchNorm2d):
    """Batch norm of the main stream and, ``aside``, of a subtask's.

    Weight and bias are shared. Running statistics are each stream's own: without the gate, T¹'s features are about
    twice the main stream's in every layer, so that at evaluation the main stream's statistics would make noise of them.
    """

    aside_mean: Tensor
    aside_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.register_buffer("aside_mean", torch.zeros(channels))
        self.register_buffer("aside_var", torch.ones(channels))

    def forward(self, x: Tensor, *, aside: bool = False) -> Tensor:
        """Normalise the main or the subtask's stream (B, channels, H, W)."""
        if not aside:
            return super().forward(x)
        of_stream = self.aside_mean, self.aside_var, self.weight, self.bias
        return batch_norm(x, *of_stream, self.training, self.momentum or 0.0, self.eps)


class ActionSCS(SemiCoupled):
    """SCS layer, action form.

    S_t = ReLU(BN(W_s * x_t)),  u_t = BN(W_x * x_t + W_c * c_{t-1}),  c_t = σ(u_t),  h_t = S_t ⊙ maxpool(c_t)

    In training S is normalised over all frames of the sequence, u by each time step's own, since the next step needs
    it. The batch norms' offsets stand for b_s and b_c.

    Parameters
    ----------
    in_channels, channels : int
        Channels of x and of h.
    kernel : int
        Rows and columns of W_s, odd; the gate's are 3.
    stride : int
        Of W_s, and of the pooling by which the gate meets S.

    References
    ----------
    Pang et al. 2020, Nature Machine Intelligence, arXiv 2006.00212.
    """

    def __init__(self, in_channels: int, channels: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.in_channels, self.channels, self.stride = in_channels, channels, stride
        padding = kernel // 2
        self.spatial = nn.Conv2d(in_channels, channels, kernel, stride, padding, bias=False)
        self.temporal = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.state = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.spatial_norm, self.gate_norm = StreamNorm(channels), StreamNorm(channels)
        self.reach = max(padding, 1), 1, 1

    def _spatial_path(self, frames: Tensor, *, aside: bool) -> Tensor:
        return torch.relu(self.spatial_norm(self.spatial(frames), aside=aside))

    def _normalise(self, u: Tensor, *, aside: bool) -> Tensor:
        return self.gate_norm(u, aside=aside)
