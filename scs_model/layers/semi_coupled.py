"""What both forms of the SCS layer have in common: two paths that meet in a product, and the subtasks' streams."""

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from scs_model.layers.sequence import check_open_paths, check_sequence, split_times, to_frames
from scs_model.stsgd.switch import stop_gradient


class SemiCoupled(nn.Module):
    """A form of the SCS layer; how S comes from a frame, and what normalises u, is the form's.

    ``aside`` tells it of a subtask's stream.
    """

    in_channels: int
    channels: int
    stride: int
    temporal: nn.Conv2d
    state: nn.Conv2d

    def forward(
        self, x: Tensor, state: Tensor | None = None, open_paths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run over a whole sequence; raises ValueError if the input has another shape.

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
        """
        check_sequence(x, self.in_channels, stride=self.stride)
        if open_paths is not None:
            check_open_paths(open_paths, len(x), 2)
        return self._run(x, state, open_paths)

    def _run(self, x: Tensor, state: Tensor | None, open_paths: Tensor | None) -> tuple[Tensor, Tensor]:
        for_S = for_u = x
        if open_paths is not None:
            for_S, for_u = stop_gradient(x, open_paths[:, 0]), stop_gradient(x, open_paths[:, 1])
        S = self._spatial_path(to_frames(for_S), aside=False)
        _, c = self._gate(for_u, state, aside=False)
        return (S * self._pool(torch.cat(c))).unflatten(0, x.shape[:2]), c[-1]

    def spatial_stream(self, x: Tensor) -> Tensor:
        """Return S alone (T, B, channels, H / stride, W / stride): subtask T¹'s stream, where c ≡ 1."""
        return self._spatial_path(to_frames(x), aside=True).unflatten(0, x.shape[:2])

    def temporal_stream(self, z: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return ReLU(u), pooled where S has a stride, and the state: subtask T²'s stream, with a state of its own."""
        u, c = self._gate(z, state, aside=True)
        return self._pool(torch.relu(torch.cat(u))).unflatten(0, z.shape[:2]), c[-1]

    def _spatial_path(self, frames: Tensor, *, aside: bool) -> Tensor:
        """Return S of each frame (T·B, in_channels, H, W)."""
        raise NotImplementedError

    def _normalise(self, u: Tensor, *, aside: bool) -> Tensor:
        return u

    def _gate(self, x: Tensor, c: Tensor | None, *, aside: bool) -> tuple[list[Tensor], list[Tensor]]:
        """Return u_t and c_t = σ(u_t), each (B, channels, H, W), for all t."""
        us, cs = [], []
        for u in split_times(self.temporal(to_frames(x)), len(x)):
            u = self._normalise(u if c is None else u + self.state(c), aside=aside)
            c = torch.sigmoid(u)
            us.append(u)
            cs.append(c)
        return us, cs

    def _pool(self, frames: Tensor) -> Tensor:
        return frames if self.stride == 1 else max_pool2d(frames, self.stride)
