"""What the module of every format answers."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipelines.radar.readers.header import Header
from pipelines.radar.readers.radar_file import RadarFile


class Format(Protocol):
    """A format of radar files."""

    def recognises(self, file: RadarFile) -> bool:
        """Whether the content is of this format."""
        ...

    def headers(self, file: RadarFile) -> list[Header]:
        """Return the header of each frame in the file; raise a ValueError that says why if there is none."""
        ...

    def values(self, file: RadarFile, number: int) -> NDArray[np.floating]:
        """Return the pixels (H, W) of a frame, counted from 0: in its header's unit, row 0 north, NaN for no data.

        Reflectivity where nothing was detected is -inf dBZ. Where the file has a quality index and the user asks for
        ``min_quality``, pixels below it are no data.
        """
        ...
