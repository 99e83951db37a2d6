"""The command `netemu`: finds the subcommand, and is the edge where errors become one line and an exit code.

Imports click and the errors only; a subcommand's module, and all it needs, is imported when it is called.
Exit codes: 0 all holds, 1 an expectation failed, 2 bad input or it cannot be done, 130 interrupted.
"""

import errno
import importlib
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Any, NoReturn

import click

from netemu.base import errors

# name -> (module of netemu.cli, what `netemu --help` says); the module has an attribute `command`.
COMMANDS = {
    "run": ("run", "Make a lab, run a scenario in it, report, remove it."),
    "up": ("up", "Make a lab that stays up."),
    "down": ("down", "Remove a lab, or what a crash left of it."),
    "status": ("status", "Show labs, their nodes and processes."),
    "apply": ("apply", "Create or change objects from YAML."),
    "get": ("get", "Show objects."),
    "delete": ("delete", "Delete objects and wait until they are gone."),
    "explain": ("explain", "Say what must happen to a flow, and why."),
    "check": ("check", "Check manifests against expectations, or what a change opens."),
    "probe": ("probe", "Measure who reaches whom, with real packets."),
    "verify": ("verify", "Hold everything in a lab against the model."),
    "fuzz": ("fuzz", "Change a random cluster step by step; verify it after each."),
    "proxy": ("proxy", "Explain what a node's Service proxy does with a Service."),
    "kube-proxy": ("kube_proxy", "Run the Service proxy alone, against any API server."),
    "netpol": ("netpol", "Enforce network policies alone, or wait until they are in force."),
    "drops": ("drops", "Show packets that policies dropped, and which policy did."),
    "cni": ("cni", "Call and test plugins of the Container Network Interface."),
    "exec": ("exec", "Run a command in a container."),
    "shell": ("shell", "Open a shell on a node, or outside."),
    "logs": ("logs", "Show logs of pods and of netemu's own parts."),
    "kubeconfig": ("kubeconfig", "Print the kubeconfig of a lab, or its path."),
    "doctor": ("doctor", "Check what this machine offers."),
    "completion": ("completion", "Print shell completion."),
}

# A group without a command; click before 8.2 shows the help itself.
_HELP: type[click.ClickException] | tuple[()] = getattr(click.exceptions, "NoArgsIsHelpError", ())

EPILOG = """\b
First steps:
  sudo netemu run scenarios/01-quickstart/
  sudo netemu up && sudo netemu get pods -A && sudo netemu down
"""

# No bug of anybody's: files, memory, processes or space that there are no more of (write, open, fork).
_USED_UP = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN}


class Commands(click.Group):
    """A group that imports a subcommand only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"netemu.cli.{COMMANDS[cmd_name][0]}")
        found = module.command
        assert isinstance(found, click.Command)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean '{close[0]}'?" if close else "see netemu --help"
            raise click.UsageError(f"there is no command '{args[0]}': {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])


@click.group(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="netemu", message="netemu %(version)s")
@click.option(
    "--debug", is_flag=True, envvar="NETEMU_DEBUG", help="Show a traceback when something unexpected happens."
)
def netemu(debug: bool) -> None:
    """A Kubernetes cluster with a real network, on one Linux machine, out of namespaces."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code."""
    _on_sigterm()
    _open_closed()
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code. The one place that turns exceptions into words."""
    try:
        code = netemu.main(args=list(arguments) if arguments is not None else None, standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as done:
        return done.exit_code
    except _HELP as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        _complain(error.format_message(), _usage_hint(error))
        return 2
    except (KeyboardInterrupt, click.Abort):
        _complain("interrupted")
        return 130
    except BrokenPipeError:
        # The reader of our output has had enough (`| head`); say nothing, as other tools do.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except errors.NetemuError as error:
        _complain(error.message, error.hint)
        return 2
    except OSError as error:
        if error.errno not in _USED_UP:
            return _unexpected(error)
        _complain(f"{error.filename or 'this machine'}: {error.strerror}", "free some, or raise the limit")
        return 2
    except Exception as error:  # the edge: what nobody expected becomes one line and a file
        return _unexpected(error)


def _complain(message: str, hint: str = "") -> None:
    from netemu.cli import screen

    paint = screen.painter(sys.stderr)
    print(f"{paint('bad', 'netemu:')} {message}", file=sys.stderr)
    if hint:
        print(f"        {hint}", file=sys.stderr)


def _usage_hint(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"see {context.command_path} --help" if context and context.parent else ""


def _unexpected(error: Exception) -> int:
    """One line, and the traceback in a file for whoever mends it (or on the screen with --debug)."""
    text = "".join(traceback.format_exception(error))
    if "--debug" in sys.argv or os.environ.get("NETEMU_DEBUG"):
        print(text, file=sys.stderr, end="")
        _complain(f"unexpected {type(error).__name__}: {error}")
        return 2
    with tempfile.NamedTemporaryFile("w", prefix="netemu-", suffix=".traceback", delete=False) as file:
        file.write(text)
    _complain(
        f"unexpected {type(error).__name__}: {str(error) or 'no message'}",
        f"this is a bug; its traceback is in {file.name}",
    )
    return 2


def _open_closed() -> None:
    """Who closed stdout or stderr (`>&-`) wants nothing told; and no file may get their numbers."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            fd = os.open(os.devnull, os.O_WRONLY)
            if fd != number:
                os.dup2(fd, number)
                os.close(fd)
            setattr(sys, name, os.fdopen(number, "w"))


def _on_sigterm() -> None:
    """A polite kill undoes things as Control-C does."""

    def interrupt(_number: int, _frame: FrameType | None) -> Any:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


if __name__ == "__main__":
    main()
