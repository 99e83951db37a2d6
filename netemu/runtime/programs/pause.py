"""Doing nothing, cheaply: the image `pause`, and `agnhost pause`. Standard library only."""

import contextlib
import os
import signal

PROGRAM = "/.netemu/pause"


def main(_: list[str]) -> int:
    """Until SIGTERM or SIGINT, then 0. The machine program needs 66 kB where Python needs 700."""
    with contextlib.suppress(OSError):
        os.execv(PROGRAM, ["/pause"])
    signal.sigwait((signal.SIGTERM, signal.SIGINT))
    return 0


def agnhost(arguments: list[str]) -> int:
    print("Paused", flush=True)
    return main(arguments)
