"""Where versions that were registered before 0.2 look for their loader."""

from pipelines.nowcast.pyfunc import _load_pyfunc as _load_pyfunc
