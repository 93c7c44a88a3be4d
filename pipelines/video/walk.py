"""What is in a folder of videos: videos, folders of pictures, and lists, however deep."""

import os
from pathlib import Path

from pipelines.common.files import no_file_inside
from pipelines.video.frames import NOT_FRAMES, PICTURES

VIDEOS = {".mp4", ".avi", ".mkv", ".webm", ".mov", ".mpg", ".mpeg", ".m4v", ".flv", ".wmv", ".3gp", ".ts", ".gif"}
LISTS = {".txt", ".csv"}


def walk(root: Path) -> tuple[list[Path], dict[str, Path], dict[Path, str]]:
    """Find videos and lists below a folder; not what is hidden or a copy has not finished.

    Returns
    -------
    entries : list of Path
        Videos: files, and folders of pictures. A folder that can't be listed, and a link to nowhere, are among them,
        so that someone hears of it.
    lists : dict of Path
        Text and tables by their names.
    unread : dict of str
        Why nothing is read at other paths.
    """
    entries: list[Path] = []
    lists: dict[str, Path] = {}
    unread: dict[Path, str] = {}
    # Path, whether a folder, by how many links, and the folders that it is in.
    waiting = [(root, True, 0, frozenset[tuple[int, int]]())]
    while waiting:
        path, is_folder, links, above = waiting.pop()
        if words := no_file_inside(path, root):
            if is_folder or path.suffix.lower() in VIDEOS | LISTS:
                unread[path] = words
        elif is_folder:
            try:
                here = path.stat()
                with os.scandir(path) as found:
                    inside = sorted(
                        (one.name, one.is_dir(), one.is_symlink()) for one in found if not one.name.startswith(".")
                    )
            except OSError:
                entries.append(path)
                continue
            if (here.st_dev, here.st_ino) in above:  # a link to a folder that it is in
                continue
            if links > 1:  # some sixty such links lead to a folder by a billion paths
                unread[path] = "a link to a folder, by another such link"
                continue
            if any(Path(name).suffix.lower() in PICTURES and not NOT_FRAMES.match(name) for name, _, _ in inside):
                entries.append(path)
                continue
            above |= {(here.st_dev, here.st_ino)}
            waiting += [(path / name, folder, links + link, above) for name, folder, link in reversed(inside)]
        elif path.suffix.lower() in VIDEOS:  # a link to nowhere too
            entries.append(path)
        elif path.suffix in LISTS:
            lists[path.name] = path
    return entries, lists, unread
