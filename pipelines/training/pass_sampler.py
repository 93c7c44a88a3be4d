"""In which order a training sees samples that vary from pass to pass."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from torch.utils.data import Sampler


class Samples(Protocol):
    """What is drawn from: a number of samples, and the seed of the draws."""

    seed: int

    def __len__(self) -> int: ...


class PassSampler(Sampler[int]):
    """Sample numbers of ``samples``, ``count`` an epoch: a function of (seed, epoch) alone.

    Each pass over the samples is a shuffle of all of them; passes go on across epochs, so that every one is seen
    equally often however long an epoch is, and no two of a training have the same number: n is sample ``n % len``.
    """

    def __init__(self, samples: Samples, count: int | None = None) -> None:
        self.samples, self.count, self.epoch = samples, count or len(samples), 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch to draw; Lightning calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        length, position = len(self.samples), self.epoch * self.count
        end = position + self.count
        while position < end:
            number = position // length
            order = np.random.default_rng((self.samples.seed, number)).permutation(length)
            for i in range(position % length, min(length, end - number * length)):
                yield int(number * length + order[i])
            position = (number + 1) * length
