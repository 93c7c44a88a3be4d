"""The login of our servers, made once: ``python -m pipelines.common.login``.

It is kept in a file of the machine that its owner alone may read, and handed on by environment variables, never on a
command line, where every user of the machine can see it.
"""

import os
import secrets
import shlex
import tempfile
from contextlib import suppress
from pathlib import Path

from pipelines.common.errors import UserError
from pipelines.common.provenance import main_checkout
from pipelines.common.stage import run

FILE = Path("data/servers.env")
USER = "scs"
TEXT = """\
# The login of the servers of Prefect, MLflow and the page, for a shell: . {file}
# Who can read this file may use them. Remove it for another password.
export PREFECT_API_AUTH_STRING={user}:{password}
export MLFLOW_TRACKING_USERNAME={user}
export MLFLOW_TRACKING_PASSWORD={password}
"""


def read_login(checkout: Path) -> dict[str, str]:
    """Return what clients of the servers need in their environment, by a file in ``data/`` that is made if need be.

    Raises
    ------
    UserError
        If others than this user can read or write the file, or it isn't one of ours.
    """
    path = checkout / FILE
    if not path.exists():
        _make(path)
    status = path.stat()
    if status.st_mode & 0o077 or status.st_uid != os.geteuid():
        raise UserError(f"{path}: others can read it (chmod 600 it, or remove it for another password)")
    words = shlex.split(path.read_text(encoding="utf-8"), comments=True)
    login = dict(word.split("=", 1) for word in words if "=" in word)
    if not {"PREFECT_API_AUTH_STRING", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"} <= login.keys():
        raise UserError(f"{path}: a variable is missing; remove it for a new one")
    return login


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".login")  # its owner's alone
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(TEXT.format(file=FILE, user=USER, password=secrets.token_urlsafe(32)))
    with suppress(FileExistsError):  # another process was faster: its password holds
        path.hardlink_to(temporary)
    Path(temporary).unlink()


def main() -> None:
    """Make the file where there is none, and say where it is."""
    read_login(main_checkout())
    print(f"user {USER}, password: see {main_checkout() / FILE}")


if __name__ == "__main__":
    run(main)
