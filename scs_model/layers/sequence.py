"""What every recurrent layer does with a whole sequence (time, batch, channel, y, x)."""

import torch
from torch import Tensor


def check_sequence(x: Tensor, channels: int, *, stride: int = 1) -> None:
    """Refuse, in words, a sequence that a layer can't take.

    Raises
    ------
    ValueError
        If ``x`` is not (T, B, channels, H, W) with something in it, or the stride doesn't divide H and W.
    """
    if x.ndim != 5:
        raise ValueError(f"a layer's input is (T, B, C, H, W), five dimensions; got {x.ndim} in {tuple(x.shape)}")
    T, B, C, H, W = x.shape
    if T < 1:
        raise ValueError("a layer's input has at least one frame; got none")
    if B < 1 or H < 1 or W < 1:
        raise ValueError(f"a layer's input has at least one sample, of one pixel or more; got {tuple(x.shape)}")
    if channels != C:
        raise ValueError(f"a layer's input has {channels} channels; got {C} in {tuple(x.shape)} as (T, B, C, H, W)")
    if H % stride or W % stride:
        raise ValueError(f"rows and columns must be divisible by the stride {stride}; got {H}×{W}: pad the grid")


def check_open_paths(open_paths: Tensor, *shape: int) -> None:
    """Refuse draws of another shape than (..., T, 2); raises ValueError if the shape differs."""
    if tuple(open_paths.shape) != shape:
        raise ValueError(f"open_paths has shape {shape}; got {tuple(open_paths.shape)}")


def to_frames(x: Tensor) -> Tensor:
    """Lay (T, B, C, H, W) out as frames (T·B, C, H, W), channels last: where convolutions are fastest."""
    return x.flatten(0, 1).contiguous(memory_format=torch.channels_last)


def split_times(frames: Tensor, T: int) -> tuple[Tensor, ...]:
    """Cut frames (T·B, C, H, W) into T tensors (B, C, H, W), whose gradients are joined in one go.

    An exporter has to see that there are T of them, whatever B will be: `len` would fix B, one size would hide T.
    """
    return frames.split([frames.shape[0] // T] * T)


def to_sequence(steps: list[Tensor]) -> Tensor:
    """Join T tensors (B, C, H, W) into (T, B, C, H, W); a `stack` would leave the channels-last layout."""
    return torch.cat(steps).unflatten(0, (len(steps), steps[0].shape[0]))
