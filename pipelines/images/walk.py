"""What is in a folder of annotated images: pictures and JSON files, however deep."""

import os
from dataclasses import dataclass
from pathlib import Path

from pipelines.common.files import as_text, leaves, no_file_inside
from pipelines.images.picture import SUFFIXES


@dataclass
class Files:
    """JSON files and pictures below a folder, and why nothing is read at other paths; names are those below it."""

    folder: Path
    tables: list[Path]
    pictures: dict[str, Path]
    rejected: dict[str, str]

    def named(self, path: Path) -> str:
        """Return a path's name as text."""
        return as_text(path.relative_to(self.folder).as_posix())

    def picture(self, table: Path, name: str) -> Path | None:
        """Return the picture that a JSON file calls ``name``, seen from its folder."""
        beside = os.path.normpath(table.parent.relative_to(self.folder) / name.replace("\\", "/"))
        return self.pictures.get(beside)


def walk(folder: Path) -> Files:
    """Find JSON files and pictures, in the order of their paths; not what is hidden, nor what links lead out to."""
    files = Files(folder, [], {}, {})
    for path in sorted(leaves(folder), key=os.fsencode):
        inside, suffix = path.relative_to(folder), path.suffix.lower()
        if any(part.startswith(".") for part in inside.parts):
            continue
        if path.is_dir():
            link = path.is_symlink()
            files.rejected[files.named(path)] = "a link to a folder" if link else "a folder that can't be listed"
        elif suffix in SUFFIXES or suffix == ".json":
            if words := no_file_inside(path, folder):
                files.rejected[files.named(path)] = words
            elif suffix == ".json":
                files.tables.append(path)
            else:
                files.pictures[inside.as_posix()] = path
    return files
