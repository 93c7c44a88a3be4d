"""The ConvGRU layer, and what it has in common with the TrajGRU."""

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from scs_model.layers.sequence import check_sequence, split_times, to_frames, to_sequence

SLOPE = 0.2  # of the leaky ReLU below zero


class GRU(nn.Module):
    """What is the same in every GRU: the loop over time, and the gates."""

    in_channels: int
    channels: int
    input: nn.Conv2d
    hidden: nn.Conv2d

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run over a whole sequence; raises ValueError if the input has another shape.

        Parameters
        ----------
        x : Tensor of shape (T, B, in_channels, H, W)
        state : Tensor of shape (B, channels, H, W), or None
            h_0; None is zero.

        Returns
        -------
        h : Tensor of shape (T, B, channels, H, W)
        state : Tensor of shape (B, channels, H, W)
            h_T.
        """
        check_sequence(x, self.in_channels)
        h, hs = state, []
        for from_x, *others in zip(*self._from_input(to_frames(x), len(x)), strict=True):
            if h is None:
                h, from_h = torch.zeros_like(from_x[:, : self.channels]), torch.zeros_like(from_x)
            else:
                from_h = self._from_state(h, *others)
            h = _step(from_x, from_h, h)
            hs.append(h)
        assert h is not None
        return to_sequence(hs), h

    def _from_input(self, frames: Tensor, T: int) -> list[tuple[Tensor, ...]]:
        """Return what each x_t adds to z, r and h', and what else of it `_from_state` takes."""
        return [split_times(self.input(frames), T)]

    def _from_state(self, h: Tensor) -> Tensor:
        return self.hidden(h)


class ConvGRU(GRU):
    """ConvGRU layer.

    z, r = σ(W_x * x_t + W_h * h_{t-1} + b),  h' = f(W_x * x_t + r ⊙ (W_h * h_{t-1}) + b)
    h_t = (1 - z) ⊙ h' + z ⊙ h_{t-1},  each with its own W_x, W_h and b; f is a leaky ReLU of slope 0.2

    Parameters
    ----------
    in_channels, channels : int
        Channels of x and of h.
    kernel : int
        Rows and columns of the input's kernels, odd.
    state_kernel : int or None
        Rows and columns of the state's kernels, odd; None is those of the input's.

    References
    ----------
    Shi et al. 2017, arXiv 1706.03458, equation 1.
    """

    def __init__(self, in_channels: int, channels: int, kernel: int = 3, *, state_kernel: int | None = None) -> None:
        super().__init__()
        self.in_channels, self.channels = in_channels, channels
        state_kernel = state_kernel or kernel
        # The channels are those of z, r and h', in this order.
        self.input = nn.Conv2d(in_channels, 3 * channels, kernel, padding=kernel // 2)
        self.hidden = nn.Conv2d(channels, 3 * channels, state_kernel, padding=state_kernel // 2, bias=False)
        self.reach = kernel // 2, kernel // 2, state_kernel // 2


def _step(from_x: Tensor, from_h: Tensor, h: Tensor) -> Tensor:
    """Return h_t from what x_t and h_{t-1} add to z, r and h', in this order of channels."""
    sizes = [2 * h.shape[1], h.shape[1]]
    gates, candidate = from_x.split(sizes, dim=1)
    gates_h, candidate_h = from_h.split(sizes, dim=1)
    z, r = torch.sigmoid(gates + gates_h).chunk(2, dim=1)
    return torch.lerp(leaky_relu(candidate + r * candidate_h, SLOPE), h, z)
