"""One training over several processes (DDP): each takes its part of every batch, and together they take one's steps.

Lightning starts the processes: each runs the whole stage, the first of them (rank 0) alone writes files and MLflow's
run. A sum that is the whole batch's is taken over all of them; so is what must end all of them.
"""

import os
from collections.abc import Iterator, Sized
from itertools import islice
from typing import Any

from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch import Tensor, distributed
from torch.utils.data import Sampler

from pipelines.common.errors import UserError


def is_rank_zero() -> bool:
    """Return whether this process is rank 0, or alone; known before Lightning is asked."""
    return int(getattr(rank_zero_only, "rank", 0)) == 0


def num_nodes(devices: int) -> int:
    """Return the number of machines, of so many processes each: what a launcher says (torchrun, Slurm), else one."""
    processes = os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_NTASKS") or devices
    return max(1, int(processes) // devices)


def part_of_batch(batch_size: int, devices: int) -> int:
    """Return the samples of one process, of a batch that all share; raises UserError if it can't be shared evenly."""
    processes = devices * num_nodes(devices)
    if batch_size % processes:
        raise UserError(f"batch_size {batch_size} is shared by {processes} processes (devices): not a multiple of that")
    return batch_size // processes


def mean_over_ranks(value: Tensor) -> Tensor:
    """Average a number over all processes; itself in one that is alone. No gradient flows."""
    value = value.detach()
    if not _together():
        return value
    value = value.clone()
    distributed.all_reduce(value)
    return value / distributed.get_world_size()


DIVERGED = 100.0  # of a loss of order one


def check_loss(loss: Tensor, step: int) -> None:
    """Raise FloatingPointError in every process if any loss diverges or is NaN: one alone leaves others waiting."""
    mean = mean_over_ranks(loss)
    if not mean < DIVERGED:  # NaN isn't
        raise FloatingPointError(f"the loss is {mean.item()} at step {step}")


class DistributedSamplerWrapper(Sampler[Any]):
    """The part of one process of what a sampler draws.

    It is every n-th sample, so that the k-th batches of all n processes together are the k-th batch of one process. The
    last few that can't be shared evenly are left out.
    """

    def __init__(self, sampler: Sampler[Any]) -> None:
        self.sampler = sampler

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch to draw; Lightning calls this."""
        if hasattr(self.sampler, "set_epoch"):
            self.sampler.set_epoch(epoch)

    def __len__(self) -> int:
        assert isinstance(self.sampler, Sized)
        return len(self.sampler) // (distributed.get_world_size() if _together() else 1)

    def __iter__(self) -> Iterator[Any]:
        rank, world = (distributed.get_rank(), distributed.get_world_size()) if _together() else (0, 1)
        return islice(iter(self.sampler), rank, len(self) * world, world)


def _together() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def trainer_arguments(devices: int) -> dict[str, Any]:
    """Return arguments of Lightning's Trainer for so many processes a machine: GPUs, or processes of the CPU."""
    return {
        "accelerator": "auto",
        "devices": devices,
        "num_nodes": num_nodes(devices),
        "strategy": "ddp" if devices * num_nodes(devices) > 1 else "auto",
        "use_distributed_sampler": False,  # DistributedSamplerWrapper keeps the order of a process alone
    }
