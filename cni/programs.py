"""Another program run to its end, by posix_spawn: importing subprocess would cost as much as a plugin."""

import errno
import posix as os
from _stat import S_ISREG

from netemu.wire import cni


def run(
    path: str, arguments: list[str], environment: dict[str, str], text: bytes, *, errors: bool = False
) -> tuple[int, bytes]:
    """A program's exit code and standard output, with `errors` what it complains of as well.

    Its input is a file in memory: nobody has to feed it.
    """
    source = os.memfd_create("input")
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        os.write(source, text)
        os.lseek(source, 0, 0)
        actions = [(os.POSIX_SPAWN_DUP2, source, 0), (os.POSIX_SPAWN_DUP2, writing, 1)]
        actions += [(os.POSIX_SPAWN_DUP2, writing, 2)] if errors else []
        try:
            pid = os.posix_spawn(path, [path, *arguments], environment, file_actions=actions)
        except OSError as problem:
            code = cni.TRY_AGAIN if problem.errno == errno.ETXTBSY else cni.IO_FAILURE
            raise cni.Failure(code, f"cannot run {path}", str(problem)) from None
        os.close(writing)
        writing = -1
        output = bytearray()
        while piece := os.read(reading, 1 << 16):
            output += piece
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status), bytes(output)
    finally:
        os.close(source)
        os.close(reading)
        if writing >= 0:
            os.close(writing)


def find(name: str, directories: "tuple[str, ...]") -> str:
    """The first file of that name in the directories, or ""."""
    for directory in directories:
        path = f"{directory}/{name}"
        try:
            if S_ISREG(os.stat(path).st_mode):
                return path
        except OSError:
            continue
    return ""
