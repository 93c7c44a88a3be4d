"""T²'s losses, beside the main loss.

T¹'s loss is the main loss's own function, of T¹'s stream: ASTSGD compares the two, which is only fair between losses
of one kind and scale. T²'s are here: the echo's motion on radar, optical flow in videos.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

STILL = 1e-4  # a mean square that is as good as none: of flow in cells a frame, or of steps in widths of the grid


def normalised_error(said: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared error of what is said of ``target``, in units of its root mean square: of order one.

    A plain squared error of what is small weighs nothing beside the main loss. 1 for zero, 0 for the target in its
    units; a mean square below `STILL` counts as that.
    """
    normalised = target.float() / target.float().square().mean().clamp(min=STILL).sqrt()
    return (said.float() - normalised).square().mean()


def motion_error(motion: Tensor, target: Tensor, echo: Tensor) -> Tensor:
    """Return the mean squared error of the motion on normalised targets, on echo only.

    As in `flow_error` the observed motion is divided by its root mean square, over the batch's echo: in cells a frame
    it may be small, in moving coordinates above all, where the steady motion is taken out.

    Parameters
    ----------
    motion : Tensor of shape (B, T, 2, H / d, W / d)
        `Streams.motion`.
    target : Tensor of shape (B, T, 2, H, W)
        Observed motion, x and y, pixels a frame; averaged over a cell's echo.
    echo : Tensor of shape (B, T, 1, H, W), bool
        Where ``target`` counts.

    Returns
    -------
    Tensor, scalar
        1 for a motion of zero, 0 for the observed one, and where there is no echo at all.

    Raises
    ------
    ValueError
        If the shapes don't belong together.
    """
    B, T, two, h, w = motion.shape
    d = target.shape[-1] // w
    if d < 1 or target.shape != (B, T, 2, h * d, w * d) or echo.shape != (B, T, 1, h * d, w * d) or two != 2:
        raise ValueError(
            "motion is (B, T, 2, H / d, W / d), target (B, T, 2, H, W), echo (B, T, 1, H, W); got "
            f"{tuple(motion.shape)}, {tuple(target.shape)}, {tuple(echo.shape)}"
        )
    weight = avg_pool2d(echo.flatten(0, 1).float(), d)
    sums = avg_pool2d(target.where(echo, 0.0).flatten(0, 1).float(), d)
    cells = sums / weight.clamp(min=0.5 / d**2) / d
    count = (2 * weight.sum()).clamp(min=1.0)
    normalised = cells / ((weight * cells.square()).sum() / count).clamp(min=STILL).sqrt()
    return (weight * (motion.flatten(0, 1).float() - normalised).square()).sum() / count


def flow_error(flows: Sequence[Tensor], target: Tensor) -> Tensor:
    """Return the mean squared error of the flow on normalised targets, averaged over the scales.

    At each scale the observed flow is divided by its root mean square in the batch: in cells it is so small where
    little moves (0.09 a frame on the embedded clips at 32² pixels) that T² would weigh nothing beside the main loss.

    Parameters
    ----------
    flows : sequence of Tensors of shape (T, B, 2, H / s, W / s), s in 4, 8, 16, 32
        `scs_model.networks.regression.ActionStreams.flows`.
    target : Tensor of shape (t, B, 2, H / 4, W / 4)
        Observed motion from the frame before, in cells of 4 pixels, to each of the last t frames, 1 <= t <= T:
        nothing comes before a first frame.

    Returns
    -------
    Tensor, scalar
        1 for a flow of zero, 0 for the observed one.

    Raises
    ------
    ValueError
        If the shapes don't belong together.
    """
    errors = []
    for flow in flows:
        T, B, _, h, w = flow.shape
        d = target.shape[-1] // w
        if not 1 <= len(target) <= T or d < 1 or target.shape[1:] != (B, 2, h * d, w * d):
            raise ValueError(
                f"a flow is (T, B, 2, H / s, W / s) and its target (t, B, 2, H / 4, W / 4), t from 1 to T; got "
                f"{tuple(flow.shape)} and {tuple(target.shape)}"
            )
        coarse = avg_pool2d(target.flatten(0, 1).float(), d)
        errors.append(normalised_error(flow[-len(target) :].flatten(0, 1), coarse))
    return torch.stack(errors).mean()
