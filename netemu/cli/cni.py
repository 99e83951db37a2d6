"""`netemu cni`: networks and plugins of the Container Network Interface, called by hand and tried out."""

import json
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from netemu.cli import options, screen

if TYPE_CHECKING:
    from netemu.kubelet.cni import results
    from netemu.kubelet.cni.conformance import suite
    from netemu.wire import conflists

_EXAMPLE = """
sudo ip netns add blue
sudo netemu cni run add /etc/cni/net.d/10-lan.conflist blue
sudo netemu cni run del /etc/cni/net.d/10-lan.conflist blue
sudo netemu cni test /opt/cni/bin/bridge
"""
_RUN = """
sudo netemu cni run add lan.conflist blue
export CNI_PATH=./bin CAP_ARGS='{"mac": "02:00:00:00:00:01"}'
sudo -E netemu cni run add lan.conflist blue
sudo netemu cni run gc lan.conflist --keep cnitool-77383ca0a0715733ca6f/eth0
netemu cni run version lan.conflist
"""
_TEST = """
sudo netemu cni test /opt/cni/bin/bridge
sudo netemu cni test ./my-plugin --config my-plugin.conf --json
sudo CNI_PATH=/usr/lib/cni netemu cni test portmap
"""
COMMANDS = ("add", "del", "check", "gc", "status", "version")
_LEAD = 21  # columns before a rule
_MARKS = {"ok": "good", "failed": "bad", "n/a": "faint"}


@options.group("cni", example=_EXAMPLE)
def command() -> None:
    """Call and test plugins of the Container Network Interface (CNI 1.1)."""


@options.command("run", example=_RUN)
@click.argument("what", metavar="add|del|check|gc|status|version", type=click.Choice(COMMANDS))
@click.argument("conflist", type=click.Path())
@click.argument("netns", required=False, default="")
@click.option("--path", "directories", envvar="CNI_PATH", help="Plugin directories, separated by colons.")
@click.option("--ifname", envvar="CNI_IFNAME", default="eth0", show_default=True, help="The interface.")
@click.option("--args", "arguments", envvar="CNI_ARGS", default="", metavar="K=V;K=V", help="CNI_ARGS.")
@click.option("--capabilities", envvar="CAP_ARGS", default="{}", metavar="JSON", help="Capability arguments.")
@click.option("--container-id", default="", help="Default: made from NETNS, as cnitool does.")
@click.option("--keep", multiple=True, metavar="ID/IFNAME", help="gc: an attachment that is valid.")
@click.option("--cache", default="/var/lib/cni", show_default=True, help="Where results are kept.")
@click.option("--timeout", default=60.0, show_default=True, help="Seconds a plugin may take.")
@options.json
def _run(*, what: str, conflist: str, netns: str, as_json: bool, **how: Any) -> int:
    """Do one command of CNI on NETNS (a name or a path) with the network of CONFLIST, as a runtime does.

    CONFLIST is a file, or a network's name in NETCONFPATH (/etc/cni/net.d). The result, of add, goes to
    stdout; results are kept for del, check and gc. The environment is cnitool's: CNI_PATH, CNI_IFNAME,
    CNI_ARGS, CAP_ARGS. Exit code 1: a plugin answered with an error (its code is said); 2: bad input.
    """
    from netemu.kubelet.cni import plugins

    try:
        network = _network(conflist)
        about = _attachment(netns, needed=what in ("add", "del", "check"), **_named(how))
        return _do(what, network, about, how)
    except plugins.PluginFailed as failure:
        if as_json:
            click.echo(json.dumps(failure.failure.document(network.version), indent=2))
        else:
            print(f"netemu: {failure.message} (code {failure.failure.code})", file=sys.stderr)
        return 1


def _named(how: dict[str, Any]) -> dict[str, Any]:
    return {name: how[name] for name in ("ifname", "arguments", "capabilities", "container_id")}


@options.blocking
async def _do(
    what: str,
    network: "conflists.ConfigList",
    about: "results.Attachment",
    how: dict[str, Any],
) -> int:
    from netemu.kubelet.cni import lists, plugins, results

    found = plugins.Plugins(_directories(how["directories"]), timeout=how["timeout"])
    asked = lists.Lists(found, results.Results(how["cache"]))
    network = await asked.settled(network)
    match what:
        case "add":
            click.echo(json.dumps(await asked.add(network, about), indent=4))
        case "del":
            await asked.delete(network, about)
        case "check":
            await asked.check(network, about)
        case "status":
            await asked.status(network)
        case "gc":
            problems = await asked.collect(network, [_held(text) for text in how["keep"]])
            for problem in problems:
                print(f"netemu: {problem}", file=sys.stderr)
            return 1 if problems else 0
        case "version":
            rows = [[kind, " ".join(found)] for kind, found in (await asked.versions(network)).items()]
            for line in screen.table(rows):
                click.echo(line)
    return 0


def _network(name: str) -> "conflists.ConfigList":
    """The network of a file, or the one of that name in NETCONFPATH."""
    from netemu.base import errors
    from netemu.kubelet.cni import configurations
    from netemu.wire import cni

    try:
        if os.path.exists(name) or "/" in name or name.endswith(configurations.SUFFIXES):
            return configurations.read(name)
        directory = os.environ.get("NETCONFPATH", "/etc/cni/net.d")
        found = configurations.Configurations(directory, lambda _: None).named(name)
    except cni.Failure as failure:
        raise errors.Rejected(f"{name}: {failure} (code {failure.code})") from None
    except OSError as problem:
        raise errors.Rejected(f"{name}: {problem.strerror}") from None
    if found is None:
        raise errors.Rejected(
            f"there is no network {name} in {directory}", hint="name a file, or set NETCONFPATH"
        )
    return found


def _attachment(
    netns: str, *, needed: bool, ifname: str, arguments: str, capabilities: str, container_id: str
) -> "results.Attachment":
    """Whom a call is about; containers are named after their namespace's path, as cnitool does it."""
    import hashlib

    from netemu.base import errors
    from netemu.kubelet.cni import results
    from netemu.wire import cni

    if needed and not netns:
        raise errors.Rejected("a network namespace is needed: NETNS, a name or a path")
    path = netns if "/" in netns or not netns else f"/run/netns/{netns}"
    try:
        offered = json.loads(capabilities)
        pairs = tuple(cni.arguments(arguments).items())
        cni.check_ifname(ifname)
    except (ValueError, cni.Failure) as problem:
        raise errors.Rejected(str(problem)) from None
    if not isinstance(offered, dict):
        raise errors.Rejected("CAP_ARGS must be a JSON object of capabilities")
    made = f"cnitool-{hashlib.sha512(path.encode()).hexdigest()[:20]}"
    return results.Attachment(container_id or made, path, ifname, pairs, offered)


def _held(text: str) -> "conflists.Held":
    from netemu.base import errors
    from netemu.wire import conflists

    container_id, separator, ifname = text.partition("/")
    if not separator or not ifname:
        raise errors.Rejected(f"--keep {text}: write CONTAINER-ID/INTERFACE")
    return conflists.Held(container_id, ifname)


def _directories(text: str | None) -> tuple[str, ...]:
    """Of CNI_PATH; without it the usual ones, and last netemu's own plugins."""
    import cni
    from netemu.kubelet.cni import network

    if text:
        return tuple(os.path.abspath(path) for path in text.split(":") if path)
    return (*network.DIRECTORIES, os.path.join(cni.root(), "cni"))


@options.command("test", example=_TEST)
@click.argument("plugin")
@click.option("--path", "directories", envvar="CNI_PATH", help="Plugin directories, separated by colons.")
@click.option("--config", type=click.Path(exists=True, dir_okay=False), help="Its configuration (JSON).")
@click.option(
    "--part",
    type=click.Choice(["interface", "ipam", "chained"]),
    help="What it does: make an interface, give addresses, or change what another plugin made.",
)
@click.option("--timeout", default=20.0, show_default=True, help="Seconds a call may take.")
@options.json
def _test(
    *,
    plugin: str,
    directories: str | None,
    config: str | None,
    part: str | None,
    timeout: float,
    as_json: bool,
) -> int:
    """Try PLUGIN, a file or a name in CNI_PATH, by the rules of the specification, and say which it keeps.

    It works in namespaces of its own: nothing of this machine is touched. Exit code 1: a rule is broken.
    """
    from netemu.kubelet.cni.conformance import suite

    path, found = _executable(plugin, _directories(directories))
    rows = suite.examine(path, found, config=_config(config), part=part or "", timeout=timeout)
    failed = sum(row.outcome == "failed" for row in rows)
    if as_json:
        click.echo(json.dumps([row._asdict() for row in rows], indent=2))
        return 1 if failed else 0
    click.echo("\n".join(_told(rows, screen.painter(sys.stdout), screen.columns())))
    return 1 if failed else 0


def _told(rows: Sequence["suite.Row"], paint: Callable[[str, str], str], width: int) -> list[str]:
    """A table by command; below what is broken its whole reason, beside what cannot be asked a short one."""
    titles = [paint("faint", title) for title in ("COMMAND", "OUTCOME", "RULE")]
    table, before = [titles], ""
    for row in rows:
        why = textwrap.wrap(row.why, max(width - _LEAD - 2, 20) if width else sys.maxsize)
        aside = f" ({row.why})" if row.outcome == "n/a" else ""
        aside = screen.clip(aside, max(width - _LEAD - len(row.rule), 0)) if width else aside
        section = "" if row.section == before else row.section
        table.append([section, paint(_MARKS[row.outcome], row.outcome), row.rule + paint("faint", aside)])
        if row.outcome == "failed":
            table += [["", "", paint("bad", f"  {line}")] for line in why]
        before = row.section
    count = {outcome: sum(row.outcome == outcome for row in rows) for outcome in _MARKS}
    broken = f", {paint('bad', str(count['failed']) + ' broken')}" if count["failed"] else ""
    asked = count["ok"] + count["failed"]
    last = f"{count['ok']} of {asked} rules kept{broken}; {count['n/a']} cannot be asked of it"
    return [*screen.table(table), "", last]


def _executable(plugin: str, directories: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The file, and the directories in which it and the suite find others: its own comes first."""
    from netemu.base import errors

    if "/" in plugin or os.path.isfile(plugin):
        path = os.path.abspath(plugin)
        directories = (os.path.dirname(path), *directories)
    else:
        places = [os.path.join(directory, plugin) for directory in directories]
        path = next((place for place in places if os.access(place, os.X_OK)), "")
        if not path:
            raise errors.Rejected(
                f"there is no plugin {plugin} in {':'.join(directories)}", hint="set CNI_PATH"
            )
    if not os.path.isfile(path) or not os.access(path, os.X_OK):
        raise errors.Rejected(f"{plugin} is not an executable file")
    return path, tuple(dict.fromkeys(found for found in directories if os.path.isdir(found)))


def _config(path: str | None) -> dict[str, Any] | None:
    from netemu.base import errors

    if path is None:
        return None
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
    except ValueError as problem:
        raise errors.Rejected(f"{path}: not JSON: {problem}") from None
    if not isinstance(document, dict):
        raise errors.Rejected(f"{path}: the configuration of a plugin is a JSON object")
    return document


command.add_command(_run)
command.add_command(_test)
