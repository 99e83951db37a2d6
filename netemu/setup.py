"""From a fresh clone to a running netemu: `sudo python3 -m netemu.setup run scenarios/01-quickstart/`.

Standard library only, for it runs before anything is installed. Knows apt, venv and pip; does only what is
missing, and says so. What it then becomes is an ordinary netemu command.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
OLDEST = (3, 11)
LINK = pathlib.Path("/usr/local/bin/netemu")
MODULES = pathlib.Path("/etc/modules-load.d/netemu.conf")
_STAMP = "netemu-setup"
_BINDING = (
    "/usr/lib/python3/dist-packages/nftables",
    f"/usr/lib/python3.{sys.version_info[1]}/site-packages/nftables",
)

USAGE = """\
usage: sudo python3 -m netemu.setup run SCENARIO [OPTION]...   set up, then `netemu run`
       sudo python3 -m netemu.setup test [PYTEST-OPTION]...    set up, then all checks and tests
       sudo python3 -m netemu.setup install                    set up, no more

Setting up does what is missing, and says so: Debian packages (nftables and its Python binding, iproute2,
netbase, python3-venv), a virtual environment in .venv (or $NETEMU_VENV), a link to it from
/usr/local/bin/netemu, and the kernel module br_netfilter where it is a module: now, and at every boot by
/etc/modules-load.d/netemu.conf.
"""

CHECKS = (
    ("ruff", ("ruff", "check", ".")),
    ("format", ("ruff", "format", "--check", ".")),
    ("types", ("mypy",)),
    ("rooms", ("lint-imports",)),
)


class Impossible(Exception):
    """It cannot go on; the message says what to do."""


def main(arguments: list[str]) -> int:
    """Install what is missing, then become the command that was asked for."""
    if not arguments or arguments[0] not in ("run", "test", "install"):
        print(USAGE, end="")
        return 0 if arguments and arguments[0] in ("-h", "--help") else 2
    if arguments[0] == "run" and len(arguments) == 1:
        print("netemu.setup: run what? name a scenario, such as scenarios/01-quickstart/", file=sys.stderr)
        return 2
    venv = pathlib.Path(os.environ.get("NETEMU_VENV") or ROOT / ".venv").absolute()
    try:
        install(venv, dev=arguments[0] == "test")
        if arguments[0] == "test":
            return test(venv, arguments[1:])
        if arguments[0] == "install":
            say(f"netemu is installed: {venv / 'bin' / 'netemu'}")
            return 0
        program = str(venv / "bin" / "netemu")
        os.execv(program, [program, *arguments])
    except Impossible as error:
        print(f"netemu.setup: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("netemu.setup: interrupted; the next call goes on from here", file=sys.stderr)
        return 130


def install(venv: pathlib.Path, *, dev: bool) -> None:
    """Everything that is missing, in order; nothing, quickly, when nothing is."""
    if sys.version_info[:2] < OLDEST:
        found = ".".join(map(str, sys.version_info[:3]))
        raise Impossible(
            f"Python {found} is too old: 3.11 or later is needed (Debian 12, Ubuntu 24.04 or later)"
        )
    packages = missing_packages(dev=dev)
    if packages:
        install_packages(packages)
        if left := missing_packages(dev=dev):
            raise Impossible(f"apt-get installed them, but these are still not found: {' '.join(left)}")
        # Python itself may have been upgraded with its venv: go on as the one that is there now.
        os.execv(sys.executable, [sys.executable, "-m", "netemu.setup", *sys.argv[1:]])
    if not is_current(venv, dev=dev):
        make_venv(venv, dev=dev)
    if os.geteuid() == 0:
        link(venv)
        load_bridge_filter()


def missing_packages(*, dev: bool) -> list[str]:
    """Debian packages without which it does not work here."""
    wanted = [
        ("python3-venv", importlib.util.find_spec("ensurepip") is not None),
        ("nftables", bool(_program("nft"))),
        ("python3-nftables", any(os.path.isdir(place) for place in _BINDING)),
        ("iproute2", bool(_program("ip"))),
        ("netbase", os.path.exists("/etc/protocols")),  # nft spells protocols by it
        ("iputils-ping", bool(_program("ping")) or not dev),
    ]
    return [name for name, there in wanted if not there]


def install_packages(packages: list[str]) -> None:
    """apt-get update and install. Impossible without apt, root or a network."""
    names = " ".join(packages)
    if not shutil.which("apt-get"):
        raise Impossible(f"missing here: {names}. There is no apt-get; install them (or their like) by hand")
    if os.geteuid() != 0:
        raise Impossible(f"missing here: {names}. Run it with sudo, or: sudo apt-get install {names}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    say(f"installing Debian packages: {names}")
    patient = ["-o", "DPkg::Lock::Timeout=120"]  # a fresh machine may be upgrading itself
    for command in (
        ["update", "-q"],
        ["install", *patient, "-q", "-y", "--no-install-recommends", *packages],
    ):
        done = subprocess.run(
            ["apt-get", *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        # apt-get update succeeds without a network too: then the install fails.
        if done.returncode:
            told = f"apt-get {command[0]} failed:\n{_tail(done.stdout)}"
            asked = "Is there a network, and on Ubuntu the component universe?"
            raise Impossible(f"{told}\n{asked} When there is, the same command goes on from here")
    importlib.invalidate_caches()


def is_current(venv: pathlib.Path, *, dev: bool) -> bool:
    """Whether the environment is made for this pyproject.toml and this Python, with at least these extras."""
    try:
        stamp, extras = (venv / _STAMP).read_text().split()
    except (OSError, ValueError):
        return False
    return stamp == fingerprint() and (extras == "dev" or not dev) and (venv / "bin" / "netemu").exists()


def fingerprint() -> str:
    """What the environment depends on, as one word."""
    told = hashlib.sha256((ROOT / "pyproject.toml").read_bytes())
    told.update(f"{sys.version} {ROOT}".encode())
    return told.hexdigest()


def make_venv(venv: pathlib.Path, *, dev: bool) -> None:
    """Make the environment and install the project into it, editable. Impossible when pip fails."""
    stamp = venv / _STAMP
    stamp.unlink(missing_ok=True)
    if not _works(venv):
        say(f"making a virtual environment in {venv}")
        done = _captured([sys.executable, "-m", "venv", "--clear", str(venv)])
        if done.returncode:
            raise Impossible(f"no virtual environment in {venv}:\n{_tail(done.stdout)}")
    what = f"{ROOT}[dev]" if dev else str(ROOT)
    say(f"installing netemu {'with what the tests need ' if dev else ''}into it")
    done = _captured(
        [
            str(venv / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-e",
            what,
        ]
    )
    if done.returncode:
        told = f"pip could not install netemu:\n{_tail(done.stdout)}"
        raise Impossible(f"{told}\nIs there a network? When there is, the same command goes on from here")
    stamp.write_text(f"{fingerprint()} {'dev' if dev else 'plain'}\n")


def link(venv: pathlib.Path) -> None:
    """`netemu` for everybody's PATH; a file that is not our link stays."""
    target = venv / "bin" / "netemu"
    if LINK.is_symlink():
        if os.readlink(LINK) == str(target):
            return
        LINK.unlink()
    elif LINK.exists():
        say(f"{LINK} is something else; leaving it. netemu is {target}")
        return
    try:
        LINK.parent.mkdir(parents=True, exist_ok=True)
        LINK.symlink_to(target)
    except OSError as error:
        say(f"no link {LINK} ({error.strerror}). netemu is {target}")
        return
    say(f"linked {LINK} to {target}")


def load_bridge_filter() -> None:
    """Bridged packets pass nftables only with br_netfilter: the one thing asked of the host's kernel."""
    if os.path.exists("/proc/sys/net/bridge"):
        return
    modprobe = _program("modprobe")
    done = _captured([modprobe, "br_netfilter"]) if modprobe else None
    if done is None or done.returncode:
        say("the kernel module br_netfilter is not there and cannot be loaded: netemu doctor says more")
        return
    say("loaded the kernel module br_netfilter (bridged packets pass nftables with it)")
    try:
        MODULES.write_text("# The nodes of netemu's labs need it.\nbr_netfilter\n")
    except OSError as error:
        say(f"not at the next boot, though ({MODULES}: {error.strerror})")
    else:
        say(f"and at every boot: {MODULES}")


def test(venv: pathlib.Path, arguments: list[str]) -> int:
    """Linters, types, import contracts, tests; pytest's summary is the last thing on the screen."""
    failed = []
    environment = {**os.environ, "PATH": f"{venv / 'bin'}:{os.environ.get('PATH', '')}"}
    for name, (program, *options) in CHECKS:
        began = time.monotonic()
        done = _captured([str(venv / "bin" / program), *options], environment)
        say(f"{name}: {'FAILED' if done.returncode else 'ok'} ({time.monotonic() - began:.1f} s)")
        if done.returncode:
            failed.append(name)
            print(done.stdout, flush=True)
    say(f"tests{' (checks that FAILED before: ' + ', '.join(failed) + ')' if failed else ''}:")
    pytest = [str(venv / "bin" / "pytest"), *side_by_side(arguments), *arguments]
    code = subprocess.run(pytest, cwd=ROOT, env=environment, check=False).returncode
    return code or (1 if failed else 0)


def side_by_side(arguments: list[str]) -> list[str]:
    """Options for running files of tests at the same time: half the time of a run is waiting.

    At least two and at most four, in their order (the long ones are not the last); as asked for, if asked.
    """
    if any(argument.startswith(("-n", "--numprocesses", "--pdb", "--dist")) for argument in arguments):
        return []
    workers = min(4, max(2, len(os.sched_getaffinity(0))))
    return ["-n", str(workers), "--dist", "loadfile", "--no-loadscope-reorder"]


def say(text: str) -> None:
    """One line about what is going on, to stderr: stdout belongs to the command."""
    print(f"netemu.setup: {text}", file=sys.stderr, flush=True)


def _works(venv: pathlib.Path) -> bool:
    """Whether there is an environment of this very Python."""
    python = venv / "bin" / "python"
    if not python.exists():
        return False
    done = _captured([str(python), "-c", "import sys, pip; print(sys.version)"])
    return done.returncode == 0 and done.stdout.strip() == sys.version


def _captured(
    command: list[str], environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def _program(name: str) -> str:
    return shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin:/usr/bin:/bin:/usr/local/bin") or ""


def _tail(text: str, lines: int = 8) -> str:
    return "\n".join(f"  {line}" for line in text.strip().splitlines()[-lines:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
