"""Other programs run from a built-in one: to their end, output and errors together. Standard library only."""

import os
import signal


def output_of(argv: list[str]) -> tuple[int, bytes]:
    """Exit code (negative for a signal) and what was written to stdout and stderr."""
    ours, theirs = os.pipe()
    try:
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, theirs, 1),
            (os.POSIX_SPAWN_DUP2, theirs, 2),
        ]
        pid = os.posix_spawn(
            argv[0], argv, os.environ, file_actions=actions, setsigdef=[signal.SIGPIPE, signal.SIGTERM]
        )
    finally:
        os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        output = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), output
