"""The SCS layer in the action form: batch norms, a stride, and a gate that keeps the input's resolution."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, max_pool2d

from scs_model.layers.sequence import check_open_paths, check_sequence, split_times, to_frames
from scs_model.stsgd.switch import stop_gradient


class StreamNorm(nn.BatchNorm2d):
    """Batch norm of the main stream and, by `aside`, of a subtask's.

    Weight and bias are shared. Running statistics are each stream's own: without the gate, T¹'s features are about
    twice the main stream's in every layer, so that at evaluation the main stream's statistics would make noise of them.
    """

    aside_mean: Tensor
    aside_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.register_buffer("aside_mean", torch.zeros(channels))
        self.register_buffer("aside_var", torch.ones(channels))

    def aside(self, x: Tensor) -> Tensor:
        """Normalise the subtask's stream (B, channels, H, W)."""
        of_stream = self.aside_mean, self.aside_var, self.weight, self.bias
        return batch_norm(x, *of_stream, self.training, self.momentum or 0.0, self.eps)


class ActionSCS(nn.Module):
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

    def forward(
        self, x: Tensor, state: Tensor | None = None, open_paths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run over a whole sequence.

        Parameters
        ----------
        x : Tensor of shape (T, B, in_channels, H, W)
            H and W divisible by the stride.
        state : Tensor of shape (B, channels, H, W), or None
            c_0; None is zero.
        open_paths : Tensor of shape (T, 2), bool, or None
            Whether the spatial and the temporal path are open to the gradient into x_t; None opens all.

        Returns
        -------
        h : Tensor of shape (T, B, channels, H / stride, W / stride)
        state : Tensor of shape (B, channels, H, W)
            c_T.

        Raises
        ------
        ValueError
            If the input has another shape.
        """
        check_sequence(x, self.in_channels, stride=self.stride)
        for_S = for_u = x
        if open_paths is not None:
            check_open_paths(open_paths, len(x), 2)
            for_S, for_u = stop_gradient(x, open_paths[:, 0]), stop_gradient(x, open_paths[:, 1])
        S = torch.relu(self.spatial_norm(self.spatial(to_frames(for_S))))
        _, c = self._gate(for_u, state, self.gate_norm)
        return (S * self._pool(torch.cat(c))).unflatten(0, x.shape[:2]), c[-1]

    def spatial_stream(self, x: Tensor) -> Tensor:
        """Return S alone (T, B, channels, H / stride, W / stride): subtask T¹'s stream, where c ≡ 1."""
        S = self.spatial_norm.aside(self.spatial(to_frames(x)))
        return torch.relu(S).unflatten(0, x.shape[:2])

    def temporal_stream(self, z: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return ReLU(u), pooled where S has a stride, and the state: subtask T²'s stream, with a state of its own."""
        u, c = self._gate(z, state, self.gate_norm.aside)
        return self._pool(torch.relu(torch.cat(u))).unflatten(0, z.shape[:2]), c[-1]

    def _gate(self, x: Tensor, c: Tensor | None, norm: Callable[[Tensor], Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return u_t and c_t = σ(u_t), each (B, channels, H, W), for all t."""
        us, cs = [], []
        for u in split_times(self.temporal(to_frames(x)), len(x)):
            u = norm(u if c is None else u + self.state(c))
            c = torch.sigmoid(u)
            us.append(u)
            cs.append(c)
        return us, cs

    def _pool(self, frames: Tensor) -> Tensor:
        return frames if self.stride == 1 else max_pool2d(frames, self.stride)
