"""Run a command that ends with who asked for it: ``python supervise.py COMMAND…``, as long as standard input is open.

When that closes, be it that who holds it was killed, the command and what it has started are stopped: by Ctrl-C first,
so that a training closes its MLflow run, and by force in the end.
"""

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

# Prefect kills a flow that it cancels after 30 s.
STOP = ((signal.SIGINT, 12.0), (signal.SIGTERM, 5.0))


def main() -> int:
    """Run the command; return its status."""
    for number, _ in STOP:
        signal.signal(number, lambda *_: None)  # they are for the others of our group; these have the default again
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)

    def stop() -> None:
        os.read(0, 1)  # not sys.stdin, whose lock a thread must not hold when Python ends
        for number, seconds in STOP:
            os.killpg(0, number)
            with suppress(subprocess.TimeoutExpired):
                child.wait(seconds)
                break
        os.killpg(0, signal.SIGKILL)  # with ourselves

    threading.Thread(target=stop, daemon=True).start()
    status = child.wait()
    return 128 - status if status < 0 else status


if __name__ == "__main__":
    sys.exit(main())
