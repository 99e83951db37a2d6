"""What a container runs: image and configuration in, arguments, environment and program out. Pure.

Kubernetes' table: `command` replaces entrypoint and arguments of the image, `args` the latter only.
"""

from collections.abc import Callable
from typing import NamedTuple

from netemu.base import errors
from netemu.runtime.images import catalogue, references
from netemu.wire import cri

# Programs that look like busybox's and curl: used where the host has no such program.
APPLETS = {
    name: f"netemu.runtime.programs.{module}:main"
    for name, module in (
        ("curl", "curl"),
        ("httpd", "httpd"),
        ("nc", "nc"),
        ("nslookup", "nslookup"),
        ("ping", "ping"),
        ("wget", "wget"),
    )
}
APPLET_PATH = "/.netemu/bin"


class Command(NamedTuple):
    """`program` is a "module:function" of the shim's own, or "": then `argv` is executed."""

    argv: tuple[str, ...]
    program: str
    env: tuple[tuple[str, str], ...]
    working_dir: str


def main(
    image: catalogue.Image, config: cri.ContainerConfig, hostname: str, has: Callable[[str], bool]
) -> Command:
    """The container's first command. `has` tells whether the host has a program of that name or path.

    Rejected when neither image nor configuration names a command.
    """
    argv = (
        *(config.command or image.entrypoint),
        *(config.args or (() if config.command else image.command)),
    )
    if not argv:
        raise errors.Rejected("no command specified")
    return Command(
        argv, program(image, argv[0], has), environment(image, config, hostname), working_dir(image, config)
    )


def later(
    image: catalogue.Image,
    config: cri.ContainerConfig,
    hostname: str,
    argv: tuple[str, ...],
    has: Callable[[str], bool],
) -> Command:
    """A command in a container that runs already (exec)."""
    if not argv or not argv[0]:
        raise errors.Rejected("no command specified")
    return Command(
        argv, program(image, argv[0], has), environment(image, config, hostname), working_dir(image, config)
    )


def program(image: catalogue.Image, name: str, has: Callable[[str], bool]) -> str:
    """The image's own programs come before the host's, the applets after them."""
    found = image.program(name)
    if found or has(name):
        return found
    return APPLETS.get(name.rpartition("/")[2], "")


def environment(
    image: catalogue.Image, config: cri.ContainerConfig, hostname: str
) -> tuple[tuple[str, str], ...]:
    """The later one wins: what every container has, the image's, the pod's."""
    values = {"PATH": f"{catalogue.PATH}:{APPLET_PATH}", "HOSTNAME": hostname, "HOME": "/root"}
    if config.tty:
        values["TERM"] = "xterm"
    values.update(image.env)
    if image.tag:
        values[image.tag] = references.parse(config.image).tag
    values.update(config.env)
    return tuple(values.items())


def working_dir(image: catalogue.Image, config: cri.ContainerConfig) -> str:
    return config.working_dir or image.working_dir


def bundled() -> dict[str, str]:
    """What stands in a container's file system as an executable file: name (or absolute path) to program."""
    found = dict(APPLETS)
    for image in catalogue.IMAGES:
        found.update(
            (name, where) for name, where in image.programs if where.startswith("netemu.runtime.programs.")
        )
    return found
