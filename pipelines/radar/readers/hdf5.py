"""Attributes and pixels of HDF5 files, whichever of their many types a producer chose."""

from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from pipelines.radar.readers.header import MAX_PIXELS


def attribute(name: str, *groups: h5py.Group) -> Any:
    """Return text or number of an attribute, from the first of ``groups`` that has it.

    Raises
    ------
    ValueError
        If none has it.
    """
    for group in groups:
        if name in group.attrs:
            value = np.asarray(group.attrs[name]).ravel()[0]
            if isinstance(value, bytes):
                value = value.decode("utf-8")
            return str(value).strip("\0 ") if isinstance(value, str) else value
    raise ValueError(f"no attribute {name} in {groups[0].name}")


def group(parent: h5py.Group, name: str) -> h5py.Group:
    """Return the group ``name``; a ValueError if there is none."""
    child = parent.get(name)
    if not isinstance(child, h5py.Group):
        raise ValueError(f"no group {name} in {parent.name}")
    return child


def pixels(parent: h5py.Group, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Read the numeric dataset ``name``, which must have ``shape``."""
    data = parent.get(name)
    if not isinstance(data, h5py.Dataset):
        raise ValueError(f"no dataset {name} in {parent.name}")
    if data.shape != shape or data.dtype.kind not in "iuf":
        raise ValueError(f"{data.name} is {data.shape} of {data.dtype}, not {shape} numbers")
    if data.size > MAX_PIXELS:
        raise ValueError(f"{data.name} has {data.size} pixels")
    return data[...]
