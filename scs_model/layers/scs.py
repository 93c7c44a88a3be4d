"""The SCS layer in the outline form: a spatial and a temporal path that meet in a product and share nothing else."""

import torch
from torch import Tensor, nn

from scs_model.layers.activation import tanh
from scs_model.layers.recurrence import OutlineRecurrence
from scs_model.layers.sequence import check_open_paths, check_sequence, split_times, to_frames, to_sequence
from scs_model.stsgd.switch import stop_gradient


class SCS(nn.Module):
    """SCS layer, outline form.

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

    def __init__(self, in_channels: int, channels: int, kernel: int = 3) -> None:
        super().__init__()
        self.in_channels, self.channels = in_channels, channels
        padding = kernel // 2
        self.spatial = nn.Conv2d(in_channels, channels, kernel, padding=padding)
        self.temporal = nn.Conv2d(in_channels, channels, kernel, padding=padding)
        self.state = nn.Conv2d(channels, channels, kernel, padding=padding, bias=False)
        self.reach = padding, padding, padding

    def forward(
        self, x: Tensor, state: Tensor | None = None, open_paths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run over a whole sequence.

        Parameters
        ----------
        x : Tensor of shape (T, B, in_channels, H, W)
        state : Tensor of shape (B, channels, H, W), or None
            c_0; None is zero.
        open_paths : Tensor of shape (T, 2), bool, or None
            Whether the spatial and the temporal path are open to the gradient into x_t; None opens all.

        Returns
        -------
        h : Tensor of shape (T, B, channels, H, W)
        state : Tensor of shape (B, channels, H, W)
            c_T.

        Raises
        ------
        ValueError
            If the input has another shape.
        """
        check_sequence(x, self.in_channels)
        if open_paths is not None:
            check_open_paths(open_paths, len(x), 2)
        if torch.compiler.is_compiling():
            return self._plain(x, state, open_paths)
        device = x.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        return OutlineRecurrence.apply(
            x,
            state,
            *(self.spatial.weight, self.spatial.bias, self.temporal.weight, self.temporal.bias, self.state.weight),
            None if open_paths is None else open_paths.tolist(),
            dtype,
        )

    def _plain(self, x: Tensor, state: Tensor | None, open_paths: Tensor | None) -> tuple[Tensor, Tensor]:
        """Run over a whole sequence in operations that a compiler can see through."""
        for_S = for_u = x
        if open_paths is not None:
            for_S, for_u = stop_gradient(x, open_paths[:, 0]), stop_gradient(x, open_paths[:, 1])
        S = self.spatial_stream(for_S)
        _, c = self._gate(for_u, state)
        return S * to_sequence(c), c[-1]

    def spatial_stream(self, x: Tensor) -> Tensor:
        """Return S alone (T, B, channels, H, W): subtask T¹'s stream, where c ≡ 1."""
        return tanh(self.spatial(to_frames(x))).unflatten(0, x.shape[:2])

    def temporal_stream(self, z: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return ReLU(u) (T, B, channels, H, W) and the state: subtask T²'s stream, with a state of its own."""
        u, c = self._gate(z, state)
        return torch.relu(to_sequence(u)), c[-1]

    def _gate(self, x: Tensor, c: Tensor | None) -> tuple[list[Tensor], list[Tensor]]:
        """Return u_t and c_t = σ(u_t), each (B, channels, H, W), for all t."""
        us, cs = [], []
        for u in split_times(self.temporal(to_frames(x)), len(x)):
            u = u if c is None else u + self.state(c)
            c = torch.sigmoid(u)
            us.append(u)
            cs.append(c)
        return us, cs
