"""What earlier runs found out about each video, so that a video is decoded once: a line a video, added as it is done.

A run that is killed leaves all lines but perhaps a torn last one, which is not read. A video is the same while path,
part, size and time of change are; what other code or other parameters found out is forgotten.
"""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

from pipelines.common.files import atomic_path
from pipelines.video.decode import Decoded
from pipelines.video.layouts import Video


class IngestCache:
    """Outcomes by video, in a folder of its own: with what was made by others, all in it but hidden files is removed.

    Parameters
    ----------
    folder : Path
    made_by : str
        Says which code and parameters found out what is in it.
    """

    def __init__(self, folder: Path, made_by: str) -> None:
        self._path = folder / "videos.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        mark = folder / "made_by"
        if not mark.exists() or mark.read_text(encoding="utf-8") != made_by:
            for path in folder.glob("[!.]*"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            mark.write_text(made_by, encoding="utf-8")
        self._outcomes: dict[str, Decoded | str] = {}
        if self._path.exists():
            for line in self._path.read_text(encoding="utf-8").split("\n")[:-1]:  # after the last line end: torn
                key, outcome = json.loads(line)
                self._outcomes[key] = outcome if isinstance(outcome, str) else Decoded(**outcome)
        self._rewrite(self._outcomes)
        self._stream = self._path.open("a", encoding="utf-8")

    def get(self, video: Video) -> Decoded | str | None:
        """Return what became of a video, or why nothing did; None where that isn't known."""
        return self._outcomes.get(_key(video))

    def put(self, video: Video, outcome: Decoded | str) -> None:
        """Keep what became of a video; it outlives this process at once."""
        key = _key(video)
        self._outcomes[key] = outcome
        self._stream.write(_line(key, outcome))
        self._stream.flush()

    def close(self, keep: list[Video]) -> None:
        """Forget all videos but those in ``keep``."""
        self._stream.close()
        keys = {_key(video) for video in keep}
        self._rewrite({key: outcome for key, outcome in self._outcomes.items() if key in keys})

    def _rewrite(self, outcomes: dict[str, Decoded | str]) -> None:
        with atomic_path(self._path) as temporary:
            temporary.write_text("".join(_line(*one) for one in outcomes.items()), encoding="utf-8")


def _line(key: str, outcome: Decoded | str) -> str:
    return json.dumps([key, outcome if isinstance(outcome, str) else asdict(outcome)]) + "\n"


def _key(video: Video) -> str:
    """Path, part, size and time of change; of a folder, those of all that is in it."""
    try:
        stats = [path.stat() for path in (video.path, *(video.path.iterdir() if video.path.is_dir() else []))]
    except OSError:
        stats = []
    signature = sum(stat.st_size for stat in stats), max((stat.st_mtime_ns for stat in stats), default=0)
    return f"{video.path.absolute()} {video.start_s} {video.end_s} {signature[0]} {signature[1]}"
