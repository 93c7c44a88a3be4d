"""The TrajGRU layer: a ConvGRU whose state is fetched from where the flow says that it came."""

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample, leaky_relu

from scs_model.layers.convgru import GRU, SLOPE
from scs_model.layers.sequence import split_times

FLOW_CHANNELS = 32  # of the network that gives the flows; Shi et al. 2017, section 3.2


class TrajGRU(GRU):
    """TrajGRU layer.

    As the ConvGRU (`scs_model.layers.convgru`), with Σ_k W_h^k * warp(h_{t-1}, flow_k) in the place of W_h * h_{t-1},
    where the W_h^k are 1×1 and the flows are γ(x_t, h_{t-1}) of two 5×5 convolutions.

    Parameters
    ----------
    in_channels, channels : int
        Channels of x and of h.
    kernel : int
        Rows and columns of the input's kernels, odd.
    links : int
        Flows, and places from which a state is fetched.

    References
    ----------
    Shi et al. 2017, arXiv 1706.03458, equation 4.
    """

    def __init__(self, in_channels: int, channels: int, kernel: int = 3, *, links: int = 5) -> None:
        super().__init__()
        self.in_channels, self.channels, self.links = in_channels, channels, links
        self.input = nn.Conv2d(in_channels, 3 * channels, kernel, padding=kernel // 2)
        self.hidden = nn.Conv2d(links * channels, 3 * channels, 1, bias=False)
        self.flow_input = nn.Conv2d(in_channels, FLOW_CHANNELS, 5, padding=2)
        self.flow_hidden = nn.Conv2d(channels, FLOW_CHANNELS, 5, padding=2, bias=False)
        self.flow = nn.Conv2d(FLOW_CHANNELS, 2 * links, 5, padding=2)
        self.reach = max(kernel // 2, 4), max(kernel // 2, 4), 4  # and as far as a flow points

    def _from_input(self, frames: Tensor, T: int) -> list[tuple[Tensor, ...]]:
        return [split_times(self.input(frames), T), split_times(self.flow_input(frames), T)]

    def _from_state(self, h: Tensor, flow_x: Tensor) -> Tensor:  # type: ignore[override]
        flow = self.flow(leaky_relu(flow_x + self.flow_hidden(h), SLOPE))
        return self.hidden(self._warp(h, flow))

    def _warp(self, h: Tensor, flow: Tensor) -> Tensor:
        """Fetch ``h`` (B, C, H, W) from where each flow points, bilinearly; beyond the edge is zero.

        ``flow`` (B, 2·links, H, W) is in cells, (x, y) for each link. Gives (B, links·C, H, W).
        """
        B, C, H, W = h.shape
        # Halves can't count the cells of a large grid.
        dtype = torch.promote_types(flow.dtype, torch.float32)
        y, x = torch.meshgrid(
            torch.arange(H, dtype=dtype, device=h.device),
            torch.arange(W, dtype=dtype, device=h.device),
            indexing="ij",
        )
        source = flow.to(dtype).unflatten(1, (self.links, 2)).flatten(0, 1).permute(0, 2, 3, 1)
        source = source + torch.stack([x, y], dim=-1)
        size = torch.tensor([W, H], dtype=dtype, device=h.device)
        field = h.to(dtype)[:, None].expand(B, self.links, C, H, W).flatten(0, 1)
        # Without align_corners, -1 and 1 are the outer edges of the first and the last cell.
        warped = grid_sample(field, (2 * source + 1) / size - 1, padding_mode="zeros", align_corners=False)
        return warped.unflatten(0, (B, self.links)).flatten(1, 2).to(h.dtype)
