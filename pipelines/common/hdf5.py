"""HDF5 that would have its library read something outside of it: refused by name, before the library does.

HDF5, netCDF-4 among it, can point to other files by external links, external storage and virtual datasets, also where
it is opened from memory; what such a dataset doesn't find it fills in.
"""

from collections.abc import Iterator
from math import prod
from typing import Any

import h5py
from h5py import h5d, h5g, h5l, h5o, h5t

from pipelines.common.limits import check_unpacked

# Of HDF5 itself, h5py and netCDF4: no other is loaded from anywhere for a file's sake.
HDF5_FILTERS = {1, 2, 3, 4, 5, 6, 32000, 307, 32001, 32015}


def check_hdf5(file: h5py.File) -> None:
    """Refuse HDF5 that isn't whole in itself, by the name of what isn't; raises ValueError."""
    seen = set()
    waiting: list[tuple[str, Any]] = [("", file["/"].id)]
    while waiting:
        name, opened = waiting.pop()
        if isinstance(opened, h5d.DatasetID):
            _check_dataset(name, opened)
        elif isinstance(opened, h5g.GroupID) and (address := h5o.get_info(opened).addr) not in seen:
            seen.add(address)  # hard links may go round in a circle
            waiting += _members(name, opened)


def _members(name: str, group: h5g.GroupID) -> Iterator[tuple[str, Any]]:
    for link in group:
        path, kind = f"{name}/{link.decode(errors='replace')}", group.links.get_info(link).type
        if kind == h5l.TYPE_EXTERNAL:
            file, target = group.links.get_val(link)
            raise ValueError(f"external link {path} to {_text(target)} in {_text(file)}")
        if kind not in (h5l.TYPE_HARD, h5l.TYPE_SOFT):
            raise ValueError(f"link {path} of kind {kind}")
        if kind == h5l.TYPE_HARD:  # a soft link leads along others
            yield path, h5o.open(group, link)


def _check_dataset(name: str, dataset: h5d.DatasetID) -> None:
    created, kind = dataset.get_create_plist(), dataset.get_type()
    if created.get_external_count():
        raise ValueError(f"external storage: the data of {name} are in {_text(created.get_external(0)[0])}")
    if created.get_layout() == h5d.VIRTUAL:
        sources = sorted({_text(created.get_virtual_filename(i)) for i in range(created.get_virtual_count())})
        raise ValueError(f"virtual dataset {name}: its data are in {', '.join(sources) or 'nothing'}")
    if kind.get_class() == h5t.REFERENCE:
        raise ValueError(f"dataset {name} is of references")
    for number in range(created.get_nfilters()):
        code, _, _, words = created.get_filter(number)
        if code not in HDF5_FILTERS:
            raise ValueError(f"filter {code} ({_text(words)}) of {name} isn't one that is known")
    if created.get_layout() == h5d.CHUNKED:
        check_unpacked(prod(created.get_chunk()) * kind.get_size(), f"a chunk of {name}")


def _text(name: str | bytes) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else name
