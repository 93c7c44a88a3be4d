"""Samples to batches, of which each process takes its part."""

from collections.abc import Callable
from typing import Any

from torch.utils.data import DataLoader, Dataset, Sampler, SequentialSampler

from pipelines.params.training import Fit
from pipelines.training.ddp import DistributedSamplerWrapper, part_of_batch


def loaders(
    samples: Dataset[Any],
    sampler: Sampler[Any],
    seen: Dataset[Any],
    params: Fit,
    collate: Callable[[list[Any]], Any] | None = None,
) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Return this process's batches of what ``sampler`` draws of ``samples``, and of all ``seen`` in validation.

    Raises
    ------
    UserError
        If the processes can't share a batch evenly.
    """
    share = part_of_batch(params.batch_size, params.devices)

    def batches(dataset: Any, drawn: Sampler[Any]) -> DataLoader[Any]:
        return DataLoader(dataset, share, sampler=DistributedSamplerWrapper(drawn), collate_fn=collate)

    return batches(samples, sampler), batches(seen, SequentialSampler(seen))  # type: ignore[arg-type]
