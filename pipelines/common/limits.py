"""How large a file from outside may be: on disk, unpacked, and in the memory of what decodes it.

A worker sets its process's limits when it starts; elsewhere those of `Limits` hold. What is too large is so for these
limits: with others the same file may be fine, so that no cache keeps the refusal.
"""

import re
import resource
from dataclasses import dataclass
from mmap import mmap

from pipelines.common.errors import UserError

MB = 1 << 20


class TooLarge(ValueError):  # noqa: N818 - a condition of a file, not of the program
    """A file from outside, or what it unpacks to, is larger than it may be."""


@dataclass(frozen=True)
class Limits:
    """Limits on files from outside.

    Parameters
    ----------
    memory_mb : int
        Address space of a process that decodes them, MB.
    file_mb : int
        A file that is read whole, or a member of an archive, MB.
    unpacked_mb : int
        What it, or a part of it that is read at once, unpacks to, MB.
    """

    memory_mb: int = 2048
    file_mb: int = 1024
    unpacked_mb: int = 1024


_limits = Limits()


def apply_limits(limits: Limits) -> bool:
    """Make ``limits`` those of this process; return whether the system enforces that of memory."""
    global _limits
    _limits = limits
    size = limits.memory_mb * MB
    try:
        resource.setrlimit(resource.RLIMIT_AS, (size, resource.getrlimit(resource.RLIMIT_AS)[1]))
    except (ValueError, OSError):  # macOS
        return False
    try:
        mmap(-1, size).close()
    except OSError:
        return True
    return False


def check_size(size: int) -> None:
    """Refuse a file of more bytes than may be read whole; raises `TooLarge`."""
    if size > _limits.file_mb * MB:
        raise TooLarge(f"too large: {_mb(size)} MB, and max_file_mb is {_limits.file_mb}")


def check_unpacked(size: int, what: str = "it") -> None:
    """Refuse what unpacks to more bytes than may be; raises `TooLarge`."""
    if size > unpacked_bytes():
        raise TooLarge(f"too large: {what} unpacks to {_mb(size)} MB, and max_unpacked_mb is {_limits.unpacked_mb}")


def unpacked_bytes() -> int:
    """Return how many bytes a file may unpack to."""
    return _limits.unpacked_mb * MB


def out_of_memory(error: BaseException | None) -> bool:
    """Return whether memory was refused somewhere in the causes of an error, in the words of any library.

    A reader's own words, a `ValueError`, may quote the file.
    """
    while error is not None:
        ours = isinstance(error, ValueError | UserError)
        if isinstance(error, MemoryError) or (not ours and OUT_OF_MEMORY.search(str(error))):
            return True
        error = error.__cause__ or error.__context__
    return False


# What h5py, netCDF4, GDAL, FFmpeg, OpenCV, zlib and Python's threads say.
OUT_OF_MEMORY = re.compile(
    r"(out of|not enough|insufficient) memory|(cannot|can't|could not|unable to|failed to) alloc|memory alloc"
    r"|alloc\w* fail|malloc|bad_alloc|can't start new thread|Error -4 ",
    re.IGNORECASE,
)


def too_much_memory() -> str:
    """Return the reason of a file that takes more memory than may be."""
    return f"too large: it takes more than {_limits.memory_mb} MB of memory to decode (max_memory_mb)"


def _mb(size: int) -> str:
    return f"{-(-size // MB)}"  # never that of a limit that it is above
