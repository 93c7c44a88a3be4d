"""The SCS layer: a spatial and a temporal path that meet in a product and share nothing else."""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from scs_model.switch import stop_gradient


class SCS(nn.Module):
    """SCS layer in its outline form.

    S_t = tanh(W_s * x_t + b_s),  c_t = σ(W_x * x_t + W_c * c_{t-1} + b_c),  h_t = S_t ⊙ c_t

    Parameters
    ----------
    in_channels, channels : int
        Channels of x and of h.
    kernel : int
        Rows and columns of the kernels, odd.

    References
    ----------
    Pang et al. 2020, Nature Machine Intelligence, arXiv 2006.00212.
    """

    switched = True

    def __init__(self, in_channels: int, channels: int, kernel: int = 3) -> None:
        super().__init__()
        self.channels = channels
        self.spatial = nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2)
        self.temporal = nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2)
        self.state = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=False)

    def forward(
        self, x: Tensor, state: Tensor | None = None, open_paths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run over a whole sequence.

        Parameters
        ----------
        x : Tensor of shape (T, B, C, H, W)
        state : Tensor of shape (B, channels, H, W), or None
            c_0; None is zero.
        open_paths : Tensor of shape (T, 2), bool, or None
            Spatial and temporal paths open to the gradient into x; None stops nothing.

        Returns
        -------
        h : Tensor of shape (T, B, channels, H, W)
        state : Tensor of shape (B, channels, H, W)
            c_T.
        """
        T, B = x.shape[:2]
        spatial_x = temporal_x = x
        if open_paths is not None:
            spatial_x, temporal_x = stop_gradient(x, open_paths[:, 0]), stop_gradient(x, open_paths[:, 1])
        S = torch.tanh(self.spatial(spatial_x.flatten(0, 1))).unflatten(0, (T, B))
        u = self.temporal(temporal_x.flatten(0, 1)).unflatten(0, (T, B))
        weight = self.state.weight.to(u.dtype)
        c = []
        for t in range(T):
            carried = u[t] if state is None else u[t] + conv2d(state, weight, padding=self.state.padding)
            state = torch.sigmoid(carried)
            c.append(state)
        assert state is not None
        return S * torch.stack(c), state
