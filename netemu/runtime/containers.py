"""The child's side of a container: from a fork, made in the container's namespaces, to the program.

All of it runs in the forked child; what goes wrong is an OSError or Rejected, which `become` reports.
"""

import contextlib
import fcntl
import gc
import importlib
import os
import signal
import sys
import termios
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from netemu.base import errors
from netemu.kernel import capabilities, forks, linux, process
from netemu.runtime.images import commands
from netemu.wire import cri

# containerd's default set without MKNOD: there is no device cgroup here to keep a made disk from being read.
DEFAULT_CAPABILITIES = frozenset(
    {
        *("CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP"),
        *("NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE"),
    }
)
Program = Callable[[list[str]], int | None]


class Process(NamedTuple):
    """What the child needs to become a process of a container whose namespaces it is in already.

    `working_dir` is made if it is not there.
    """

    command: commands.Command
    security: cri.Security
    terminal: bool = False


def become(what: Process, stdio: Sequence[int], report: int, fork: forks.Forks) -> None:
    """In the child, never returns: take the stdio, give up rights, run the program.

    Failure goes to `report`, which is closed when the program starts.
    """
    code = 255
    command = what.command
    try:
        _forget_the_shim()
        take_stdio(stdio, terminal=what.terminal)
        main = load(command.program) if command.program else None
        enter_directory(command.working_dir)
        _give_up_rights(what.security)
        if main is None:
            execute(command.argv, dict(command.env))
        else:
            fork.run_hooks()
            fresh_streams()
            process.close_except(())
            os.environ.clear()
            code = call(main, command.argv, command.env)
    except errors.NetemuError as refusal:
        tell(report, refusal.message)
    except OSError as refusal:
        tell(report, explain(refusal))
    except BaseException as failure:
        tell(report, f"{type(failure).__name__}: {failure}")
    finally:
        os._exit(code)


def explain(refusal: OSError) -> str:
    """One line: what, and which file."""
    return f"{refusal.filename}: {refusal.strerror}" if refusal.filename else f"{refusal.strerror or refusal}"


def _forget_the_shim() -> None:
    """Signals as a new program expects them; garbage of the shim's is not collected here."""
    gc.freeze()
    gc.enable()
    signal.set_wakeup_fd(-1)
    for number in (
        signal.SIGPIPE,
        signal.SIGXFSZ,
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGCHLD,
        signal.SIGINT,
    ):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def take_stdio(stdio: Sequence[int], *, terminal: bool) -> None:
    """A session of its own, those descriptors as 0, 1 and 2, and the first as its terminal if it is one."""
    os.setsid()
    for target, fd in enumerate(stdio):
        os.dup2(fd, target)
    if terminal:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def fresh_streams() -> None:
    """Standard streams of Python's that write whole lines at once."""
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115


def load(program: str) -> Program:
    """The function behind "module:function"; the files of Python and netemu are where they were."""
    name, _, function = program.partition(":")
    module = sys.modules.get(name) or importlib.import_module(name)
    found: Program = getattr(module, function)
    return found


def enter_directory(path: str) -> None:
    """As runc: one that is missing is made, if that is possible."""
    try:
        os.chdir(path)
    except FileNotFoundError:
        with contextlib.suppress(OSError):
            os.makedirs(path)
        os.chdir(path)


def _give_up_rights(security: cri.Security) -> None:
    if not security.privileged:
        kept = allowed(security)
        capabilities.drop_from_bounding_set(frozenset(capabilities.NAMES) - kept)
    if security.run_as_group is not None or security.run_as_user is not None:
        os.setgroups(security.supplemental_groups)
        os.setgid(security.run_as_group or 0)
    if security.run_as_user:
        os.setuid(security.run_as_user)
    elif not security.privileged:
        capabilities.restrict(kept)
    if security.no_new_privileges:
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)


def allowed(security: cri.Security) -> frozenset[str]:
    """Names without CAP_; ALL adds or drops everything, and what is added wins over what is dropped."""
    everything = frozenset(capabilities.NAMES)
    dropped = everything if "ALL" in security.drop_capabilities else frozenset(security.drop_capabilities)
    added = everything if "ALL" in security.add_capabilities else frozenset(security.add_capabilities)
    return (DEFAULT_CAPABILITIES - dropped | added) & everything


def execute(argv: tuple[str, ...], environment: dict[str, str]) -> None:
    """Never returns. Rejected in the words people know from runc."""
    name = argv[0]
    try:
        os.execvpe(name, list(argv), environment)
    except FileNotFoundError:
        if "/" in name:
            raise errors.Rejected(f'exec: "{name}": stat {name}: no such file or directory') from None
        raise errors.Rejected(f'exec: "{name}": executable file not found in $PATH') from None
    except PermissionError:
        raise errors.Rejected(f'exec: "{name}": permission denied') from None
    except OSError as refusal:
        raise errors.Rejected(f'exec: "{name}": {(refusal.strerror or "").lower()}') from None
    except ValueError as refusal:
        raise errors.Rejected(f'exec: "{name}": {refusal}') from None


def call(main: Program, argv: tuple[str, ...], env: Iterable[tuple[str, str]]) -> int:
    """Run a built-in program as the interpreter would run a script, in an environment empty so far."""
    for name, value in env:  # not update(), which touches 150 pages more
        os.environ[name] = value
    sys.argv = list(argv)
    process.set_name(argv[0].rpartition("/")[2])
    code = 1
    try:
        code = main(sys.argv) or 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        if isinstance(leaving.code, str):
            print(leaving.code, file=sys.stderr)
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        code = 141
    except BaseException:
        import traceback

        traceback.print_exc()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    return code & 0xFF


def tell(report: int, message: str) -> None:
    with contextlib.suppress(OSError):
        os.write(report, message.encode(errors="replace")[:4000] or b"failed")
