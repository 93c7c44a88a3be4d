"""
SCS in one's own torch model
============================

A layer takes a whole sequence, (T, B, C, H, W), and gives one.
"""

# %%
# Three lines: import them, put them where ConvLSTMs would be, call them.

import torch
from torch import nn

from scs_model import SCS, Stack


class NextFrame(nn.Module):
    """Say of each frame what the next will be."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = Stack([SCS(1, 8), SCS(8, 8), SCS(8, 8)])
        self.head = nn.Conv2d(8, 1, 1)

    def forward(self, frames: torch.Tensor, open_paths: torch.Tensor | None = None) -> torch.Tensor:
        hidden, _ = self.recurrent(frames, open_paths=open_paths)
        return self.head(hidden.flatten(0, 1)).unflatten(0, hidden.shape[:2])


# %%
# Something to learn: blobs that cross the picture, each with a speed of its own.


def blobs(count: int, steps: int, size: int = 24) -> torch.Tensor:
    start, speed = torch.rand(count, 2) * size, torch.rand(count, 2) * 3 - 1.5
    grid = torch.arange(size, dtype=torch.float32)
    at = (start + speed * torch.arange(steps)[:, None, None]) % size
    row, column = (torch.exp(-((grid - at[..., [axis]]) ** 2) / 8) for axis in (0, 1))
    return (row[..., :, None] * column[..., None, :])[:, :, None]


# %%
# It is trained as the paper does, by switching gradients: a draw a step says by which of a layer's two paths, at each
# frame, they go down to the layer below. Without ``open_paths`` it is trained as any network is.

from scs_model.stsgd.switch import draw_open_paths

curves = {}
for kind in ("off", "two_sided"):
    torch.manual_seed(0)
    network = NextFrame()
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    curves[kind] = []
    for step in range(80):
        frames = blobs(8, 9)
        open_paths = draw_open_paths(kind, 0.5, seed=0, step=step, rank=0, layers=3, steps=8)
        loss = (network(frames[:-1], open_paths) - frames[1:]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        curves[kind].append(loss.item())

# %%
# Whether the switch helps depends on the task and on how long one trains; see *Reproduction*. Here:

import matplotlib.pyplot as plt

figure, ax = plt.subplots(figsize=(5, 3), layout="constrained")
for kind, losses in curves.items():
    ax.plot(losses, label=f"switch {kind}")
ax.set(xlabel="step", ylabel="mean squared error", yscale="log")
ax.legend()
plt.show()
