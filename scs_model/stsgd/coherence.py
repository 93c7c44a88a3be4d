"""Overlap coherence: sequences longer than one clip."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor
from torch.nn.functional import mse_loss
from torch.utils._pytree import tree_map_only

OVERLAP = 0.25  # share of a clip's frames that the next one sees again


def clip_times(T: int, length: int, overlap: float = OVERLAP) -> list[slice]:
    """Cut T frames into clips of ``length`` that overlap; the last one may be shorter.

    Raises
    ------
    ValueError
        If there is no frame, or the overlap leaves a clip no frame of its own.
    """
    shared = round(overlap * length)
    if T < 1 or not 0 <= shared < length:
        raise ValueError(f"{T} frames can't be cut into clips of {length} that share {shared}")
    starts = range(0, max(T - shared, 1), length - shared)
    return [slice(start, min(start + length, T)) for start in starts]


def run_clips(
    step: Callable[[Tensor, Any], tuple[Tensor, Any]], x: Tensor, length: int, overlap: float = OVERLAP
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Run over a sequence of any length clip by clip, in the memory of one clip.

    The state at a clip's end is carried, detached, into the next; on the frames that both see, the coherence loss
    draws the later clip's probabilities to the earlier's, which are detached. Each clip's losses can therefore go
    backward before the next clip is run.

    Parameters
    ----------
    step : callable
        ``step(clip, state) -> (probabilities, state)``: a clip (t, B, ...) and a state, None at first, to
        probabilities (t, B, ...).
    x : Tensor of shape (T, B, ...)
    length : int
        Frames of a clip.
    overlap : float
        Share of a clip's frames that the next one sees again.

    Yields
    ------
    times : slice
        The clip's frames.
    probabilities : Tensor of shape (t, B, ...)
    coherence : Tensor, scalar
        Mean squared difference on the shared frames; zero for the first clip.

    References
    ----------
    Pang et al. 2020, Nature Machine Intelligence, arXiv 2006.00212; their weight for it is 1000.
    """
    state, earlier, end = None, None, 0
    for times in clip_times(len(x), length, overlap):
        probabilities, state = step(x[times], tree_map_only(Tensor, Tensor.detach, state))
        shared = end - times.start
        coherence = probabilities.new_zeros(())
        if earlier is not None and shared:
            coherence = mse_loss(probabilities[:shared], earlier[-shared:])
        yield times, probabilities, coherence
        earlier, end = probabilities.detach(), times.stop
