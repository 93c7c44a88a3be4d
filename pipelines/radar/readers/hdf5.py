"""Attributes and pixels of HDF5 files, whichever of their many types a producer chose."""

from typing import Any

import h5py
import numpy as np

from pipelines.radar.readers.header import check_pixels


def has(name: str, *groups: h5py.Group) -> bool:
    """Whether any of ``groups`` has the attribute."""
    return any(name in group.attrs for group in groups)


def text(name: str, *groups: h5py.Group) -> str:
    """Return the text of an attribute of the first of ``groups`` that has it; a ValueError if there is none."""
    value, where = _attribute(name, groups)
    if not isinstance(value, str) or not value.strip("\0 "):
        raise ValueError(f"attribute {name} in {where} is {_shown(value)}, not text")
    return value.strip("\0 ")


def number(name: str, *groups: h5py.Group) -> Any:
    """Return the number of an attribute, of numpy's kind as it is stored, from the first of ``groups`` that has it.

    A number that is written as text counts.

    Raises
    ------
    ValueError
        If none has it, or it is something else, or empty.
    """
    value, where = _attribute(name, groups)
    if isinstance(value, str):
        try:
            return np.float64(value)
        except ValueError:
            pass
    if not isinstance(value, np.number) or np.iscomplexobj(value):
        raise ValueError(f"attribute {name} in {where} is {_shown(value)}, not a number")
    return value


def numbers(name: str, *groups: h5py.Group) -> list[Any]:
    """Return the numbers of an attribute that may have several, or be absent."""
    if not has(name, *groups):
        return []
    values = next(np.asarray(group.attrs[name]).ravel() for group in groups if name in group.attrs)
    return list(values) if values.size > 1 and values.dtype.kind in "iuf" else [number(name, *groups)]


def whole(name: str, *groups: h5py.Group) -> int:
    """Return the whole number of an attribute; raises as :func:`number`, and if it isn't whole."""
    value = number(name, *groups)
    if not np.isfinite(value) or value != int(value):
        raise ValueError(f"attribute {name} in {_attribute(name, groups)[1]} is {value}, not a whole number")
    return int(value)


def group(parent: h5py.Group, name: str) -> h5py.Group:
    """Return the group ``name``; a ValueError if there is none."""
    child = parent.get(name)
    if not isinstance(child, h5py.Group):
        raise ValueError(f"no group {name} in {parent.name}")
    return child


def image(parent: h5py.Group, name: str, shape: tuple[int, ...] | None = None) -> h5py.Dataset:
    """Return the numeric dataset ``name``, which must have ``shape``, or else two dimensions; its pixels aren't read.

    Raises
    ------
    ValueError
        If there is none such, or it is too large.
    """
    data = parent.get(name)
    if not isinstance(data, h5py.Dataset):
        raise ValueError(f"no dataset {name} in {parent.name}")
    fits = data.ndim == 2 if shape is None else data.shape == shape
    if not fits or data.dtype.kind not in "iuf":
        raise ValueError(f"{data.name} is {data.shape} of {data.dtype}, not {shape or 'rows and columns of'} numbers")
    check_pixels(*data.shape)
    return data


def _attribute(name: str, groups: tuple[h5py.Group, ...]) -> tuple[Any, str]:
    """Return an attribute's one value, and the name of the group that has it."""
    for group in groups:
        if name in group.attrs:
            values = group.attrs[name]
            if isinstance(values, h5py.Empty):
                return None, group.name
            values = np.asarray(values).ravel()
            value = values[0] if values.size == 1 else values if values.size else None
            return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value, group.name
    raise ValueError(f"no attribute {name} in {groups[0].name}")


def _shown(value: Any) -> str:
    if value is None or not np.size(value) or str(value).strip("\0 ") == "":
        return "empty"
    if isinstance(value, np.ndarray):
        return f"{value.size} values"
    if isinstance(value, np.number):
        return f"the number {value}"
    return repr(str(value))[:50]
