"""ASTSGD: STSGD whose stop probability follows the training."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributed import ReduceOp, all_reduce, get_world_size, is_available, is_initialized

STATE = ("steps", "main_loss", "t1_loss", "t1_loss_at_first", "p")  # what changes from step to step


class AdaptiveSwitch:
    """The stop probability p, from the main loss L and the loss L1 of subtask T¹.

    p = clip(p0 + (1 - p0) · max(0, L1 - θ) / (L1_0 - θ) · (α·(L / L1 - 1) + 1), 0, 1),  θ = f · L1_0

    L and L1 are smoothed over steps; L1_0 is the mean of L1 over the first K steps, and until then the mean so far.
    Training opens on the spatial concept, p near 1, and relaxes to p0 as T¹ is learned.

    Parameters
    ----------
    p0 : float
        The p of a learned T¹.
    fraction : float
        f: T¹ counts as learned at this share of its first loss.
    gain : float
        α: how much p answers to the main loss being worse than T¹'s.
    warmup : int
        K.
    smoothing : float
        Weight of the past in a loss's exponential mean, for each step.

    Attributes
    ----------
    p : float
        For the next draw; 1 before the first step.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    References
    ----------
    Pang et al. 2020, Nature Machine Intelligence, arXiv 2006.00212.
    """

    def __init__(
        self, *, p0: float = 0.5, fraction: float = 0.5, gain: float = 1.0, warmup: int = 20, smoothing: float = 0.9
    ) -> None:
        if not (0 <= p0 <= 1 and 0 < fraction < 1 and warmup >= 1 and 0 <= smoothing < 1):
            raise ValueError(
                "p0 is in [0, 1], fraction in (0, 1), smoothing in [0, 1) and warmup 1 or more; got "
                f"p0 {p0}, fraction {fraction}, smoothing {smoothing}, warmup {warmup}"
            )
        self.p0, self.fraction, self.gain, self.warmup, self.smoothing = p0, fraction, gain, warmup, smoothing
        self.steps = 0
        self.main_loss = self.t1_loss = self.t1_loss_at_first = 0.0
        self.p = 1.0

    def update(self, main_loss: Tensor, t1_loss: Tensor) -> float:
        """Take in one step's losses, the mean over all processes of a distributed run; return the next p.

        Parameters
        ----------
        main_loss, t1_loss : Tensor, scalar
            L and L1: losses of the same kind and scale.

        Raises
        ------
        ValueError
            If a loss is not finite.
        """
        losses = torch.stack([main_loss.detach(), t1_loss.detach()]).double()
        if is_available() and is_initialized():
            all_reduce(losses, ReduceOp.SUM)
            losses /= get_world_size()
        L, L1 = losses.tolist()
        if not (math.isfinite(L) and math.isfinite(L1)):
            raise ValueError(f"the main loss is {L} and that of T¹ {L1}: p can't follow them")
        # The exponential mean starts as a plain one, or the first loss would weigh too much.
        past = min(self.smoothing, self.steps / (self.steps + 1))
        self.main_loss = past * self.main_loss + (1 - past) * L
        self.t1_loss = past * self.t1_loss + (1 - past) * L1
        if self.steps < self.warmup:
            self.t1_loss_at_first += (L1 - self.t1_loss_at_first) / (self.steps + 1)
        self.steps += 1
        self.p = self._p()
        return self.p

    def _p(self) -> float:
        learned = self.fraction * self.t1_loss_at_first
        excess = self.t1_loss - learned
        if excess <= 0 or learned == 0:  # T¹ is learned, or began without a loss to measure it by
            return self.p0
        answer = self.gain * (self.main_loss / self.t1_loss - 1) + 1
        p = self.p0 + (1 - self.p0) * excess / (self.t1_loss_at_first - learned) * answer
        return min(max(p, 0.0), 1.0)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs: the losses so far and p."""
        return {name: getattr(self, name) for name in STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where `state_dict` was taken."""
        for name in STATE:
            setattr(self, name, state[name])
