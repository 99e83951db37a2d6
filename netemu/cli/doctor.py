"""`netemu doctor`: what this machine offers, tried out, and what to do about what is missing."""

import json
import sys

import click

from netemu.cli import options, screen

_EXAMPLE = """
sudo netemu doctor
sudo netemu doctor --json
"""

# feature of kernel.features -> (needed?, what for, what to do when it is missing)
ADVICE = {
    "privileges": (True, "makes namespaces, links and rules", "run it as root: sudo netemu ..."),
    "python": (True, "runs netemu", "install Python 3.11 or later"),
    "system python": (True, "runs CNI executables in nodes", "apt-get install python3"),
    "nftables binding": (True, "programs Services", "apt-get install python3-nftables"),
    "namespaces": (
        True,
        "nodes and pods",
        "a container may forbid it: run on a machine, a VM, or privileged",
    ),
    "veth": (True, "cables of pods and nodes", "modprobe veth"),
    "bridge": (True, "the switch of a node", "modprobe bridge"),
    "vxlan": (False, "overlay between nodes", "modprobe vxlan"),
    "nftables": (True, "Services: NAT, maps, numgen, fib", "modprobe nf_tables nft_chain_nat nft_fib_inet"),
    "bridge filter": (True, "Services between pods on one bridge", "modprobe br_netfilter"),
    "overlay": (True, "a node's own /etc, /opt and /var", "modprobe overlay"),
    "read-only mounts": (True, "containers see the host read-only", "a kernel of 5.12 or later"),
}


@options.command("doctor", example=_EXAMPLE)
@options.json
def command(as_json: bool) -> int:
    """Try what netemu needs of this machine, in namespaces of its own.

    Exit code 1: something that is needed is missing.
    """
    from netemu.kernel import features

    found = {name: features.probe(name) for name in features.names()}
    bad = [name for name, probe in found.items() if not probe.ok and ADVICE.get(name, (True, "", ""))[0]]
    if as_json:
        rows = [
            {
                "feature": name,
                "ok": probe.ok,
                "needed": ADVICE.get(name, (True, "", ""))[0],
                "detail": probe.detail,
            }
            for name, probe in found.items()
        ]
        click.echo(json.dumps(rows, indent=2))
        return 1 if bad else 0
    paint = screen.painter(sys.stdout)
    rows_shown = []
    for name, probe in found.items():
        needed, purpose, advice = ADVICE.get(name, (True, "", ""))
        mark = (
            paint("good", "ok")
            if probe.ok
            else paint("bad", "missing")
            if needed
            else paint("warn", "absent")
        )
        rows_shown.append([mark, name, purpose, probe.detail if probe.ok else f"{probe.detail}: {advice}"])
    for line in screen.table(rows_shown):
        click.echo(line)
    click.echo()
    click.echo(f"{len(bad)} missing: {', '.join(bad)}" if bad else "this machine can run netemu")
    return 1 if bad else 0
