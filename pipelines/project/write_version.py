"""Stage ``version`` of a project: which scs-nowcast is installed, a dep of every other stage."""

from importlib.metadata import version
from pathlib import Path

from pipelines.common.extras import DISTRIBUTION
from pipelines.common.files import write_text
from pipelines.common.stage import run


def main(out: Path) -> None:
    """Write the version to OUT."""
    write_text(out, f"{version(DISTRIBUTION)}\n")


if __name__ == "__main__":
    run(main)
