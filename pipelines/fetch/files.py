"""Files of a folder, S3, and whatever else fsspec knows. Keys are those of its own environment variables."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import fsspec
from fsspec import AbstractFileSystem

from pipelines.common.errors import UserError, in_short
from pipelines.fetch.http import s3_hash
from pipelines.fetch.pace import Pace
from pipelines.fetch.remote import Absent, Changed, Opened, Part, Passing, Refused

CHUNK = 8 << 20  # bytes of one request


class Files:
    """A place that fsspec knows.

    Parameters
    ----------
    pace : Pace
        Waited for before each request.
    anonymous : bool
        S3 without keys.
    """

    def __init__(self, pace: Pace, url: str, anonymous: bool = False) -> None:
        self.pace = pace
        options = {"anon": True} if anonymous else {}
        try:
            self.place: AbstractFileSystem = fsspec.core.url_to_fs(url, **options)[0]
        except (ImportError, ValueError, TypeError) as error:
            raise UserError(f"{url}: {in_short(error)}") from None

    @contextmanager
    def open(self, url: str, part: Part | None) -> Iterator[Opened]:
        """Open a file, behind ``part`` where it is still the same; see `Remote`."""
        path = self.place._strip_protocol(url)
        with _as_ours():
            about = self._about(path)
            size, version, hashes = about
            still = part is not None and (part.size, part.version) == (size, version)
            offset = part.bytes if part is not None and still else 0

        def chunks() -> Iterator[bytes]:
            for start in range(offset, size, CHUNK):
                self.pace.wait()
                with _as_ours():
                    chunk = self.place.cat_file(path, start=start, end=min(start + CHUNK, size))
                yield chunk
            with _as_ours():
                if self._about(path) != about:
                    raise Changed("changed while it was read")

        yield Opened(offset, size, version, chunks(), hashes)

    def list(self, folder: str) -> dict[str, str]:
        """Return the files in a folder; see `Remote`."""
        self.pace.wait()
        with _as_ours():
            self.place.invalidate_cache()
            entries = self.place.ls(self.place._strip_protocol(folder), detail=True)
        paths = [entry["name"] for entry in entries if entry["type"] == "file"]
        return {path.rpartition("/")[2]: self.place.unstrip_protocol(path) for path in paths}

    def _about(self, path: str) -> tuple[int, str, dict[str, str]]:
        """Return size, version and hashes of a file as they are now."""
        self.pace.wait()
        if "s3" in self.place.protocol:
            bucket, key, _ = self.place.split_path(path)
            head: dict[str, Any] = self.place.call_s3("head_object", Bucket=bucket, Key=key)
            plain = head.get("ServerSideEncryption", "AES256") == "AES256"
            return head["ContentLength"], head["ETag"], s3_hash(head["ETag"]) if plain else {}
        self.place.invalidate_cache()
        info = self.place.info(path)
        if info["type"] != "file" or info.get("size") is None:
            raise Refused("no file")
        marks = [str(info[key]) for key in ("ETag", "etag", "mtime", "LastModified", "modified") if info.get(key)]
        return info["size"], f"{info['size']} {' '.join(marks)}" if marks else "", {}


@contextmanager
def _as_ours() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise Absent from None
    except (PermissionError, NotADirectoryError, IsADirectoryError) as error:
        raise Refused(error.strerror or in_short(error)) from None
    except OSError as error:
        raise Passing(in_short(error)) from None
    except (Passing, Refused, Absent):
        raise
    except Exception as error:  # whatever a file system that nobody here has seen raises
        raise Refused(f"{type(error).__name__}: {in_short(error)}") from None
