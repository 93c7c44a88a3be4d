"""The SCS layer in the outline form: a spatial and a temporal path that meet in a product and share nothing else."""

import torch
from torch import Tensor, nn

from scs_model.layers.activation import tanh
from scs_model.layers.recurrence import OutlineRecurrence
from scs_model.layers.semi_coupled import SemiCoupled


class SCS(SemiCoupled):
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
        self.in_channels, self.channels, self.stride = in_channels, channels, 1
        padding = kernel // 2
        self.spatial = nn.Conv2d(in_channels, channels, kernel, padding=padding)
        self.temporal = nn.Conv2d(in_channels, channels, kernel, padding=padding)
        self.state = nn.Conv2d(channels, channels, kernel, padding=padding, bias=False)
        self.reach = padding, padding, padding

    def _run(self, x: Tensor, state: Tensor | None, open_paths: Tensor | None) -> tuple[Tensor, Tensor]:
        if torch.compiler.is_compiling():
            return super()._run(x, state, open_paths)  # operations that a compiler can see through
        device = x.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        return OutlineRecurrence.apply(
            x,
            state,
            *(self.spatial.weight, self.spatial.bias, self.temporal.weight, self.temporal.bias, self.state.weight),
            None if open_paths is None else open_paths.tolist(),
            dtype,
        )

    def _spatial_path(self, frames: Tensor, *, aside: bool) -> Tensor:
        return tanh(self.spatial(frames))
