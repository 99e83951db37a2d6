"""iptables mode: upstream's names, and real connections through the chains where iptables is installed."""

import asyncio
import itertools
import os
import shutil
import subprocess
from collections import Counter

import pytest

from netemu.base import clock
from netemu.kernel import conntrack, firewall, generations
from netemu.kubeproxy import changes, endpoints, iptables, layout, options, plan, programs, services
from netemu.kubeproxy import proxy as proxying

CHOSEN = options.Options(("10.244.0.0/16", "fd00:244::/56"), ("10.96.0.0/16", "fd00:96::/112"))
AROUND = options.surroundings(CHOSEN, None)


def test_chains_are_named_as_upstream_names_them():
    """Names that every cluster has: those of default/kubernetes and of kube-dns."""
    assert iptables.chain("SVC", "default/kubernetes:https", "tcp") == "KUBE-SVC-NPX46M4PTMTKRN6Y"
    assert iptables.chain("SVC", "kube-system/kube-dns:dns", "udp") == "KUBE-SVC-TCOU7JCQXEZGVUNU"


def wanted(members, number=1, protocols=("tcp", "udp"), **special):
    key = services.Key("test", f"s{number}")
    ports = tuple(services.Port(protocol, protocol, 80, 30000 + number) for protocol in protocols)
    service = services.Service(key, ports, (f"10.96.0.{number}", f"fd00:96::{number}"), **special)
    slices = tuple(
        endpoints.Slice(
            key,
            tuple((protocol, protocol, 8080) for protocol in protocols),
            tuple(endpoints.Endpoint(pair[six], True, True, False, node) for pair, node in members),
        )
        for six in (0, 1)
    )
    return plan.place(changes.State(service, slices), endpoints.Topology("here"), None, itertools.count(1))


A = (("10.244.1.2", "fd00:244:0:1::2"), "here")
FAR = (("10.244.2.2", "fd00:244:0:2::2"), "there")


def rules(document, table="nat"):
    return document.partition(f"*{table}\n")[2].partition("COMMIT")[0].splitlines()


def test_the_rules_of_a_service_are_upstreams():
    text = iptables.document(layout.IP, [wanted((A, FAR), protocols=("tcp",))], AROUND["ip"], "")
    service, external = (iptables.chain(kind, "test/s1:tcp", "tcp") for kind in ("SVC", "EXT"))
    a = iptables.chain("SEP", "test/s1:tcp", "tcp", "10.244.1.2:8080")
    far = iptables.chain("SEP", "test/s1:tcp", "tcp", "10.244.2.2:8080")
    to_vip = "-m tcp -p tcp -d 10.96.0.1 --dport 80"
    for line in (
        f'-A KUBE-SERVICES -m comment --comment "test/s1:tcp cluster IP" {to_vip} -j {service}',
        f'-A {service} -m comment --comment "test/s1:tcp cluster IP" {to_vip}'
        " ! -s 10.244.0.0/16 -j KUBE-MARK-MASQ",
        f'-A {service} -m comment --comment "test/s1:tcp -> 10.244.1.2:8080"'
        f" -m statistic --mode random --probability 0.5000000000 -j {a}",
        f'-A {service} -m comment --comment "test/s1:tcp -> 10.244.2.2:8080" -j {far}',
        f'-A {a} -m comment --comment "test/s1:tcp" -s 10.244.1.2 -j KUBE-MARK-MASQ',
        f'-A {a} -m comment --comment "test/s1:tcp" -m tcp -p tcp -j DNAT --to-destination 10.244.1.2:8080',
        f'-A KUBE-NODEPORTS -m comment --comment "test/s1:tcp" -m tcp -p tcp --dport 30001 -j {external}',
        f"-A {external} -j {service}",
    ):
        assert line in rules(text), line
    assert rules(text)[-1].endswith("-j KUBE-NODEPORTS") or "KUBE-SERVICES" in rules(text)[-1]


def test_chains_nobody_wants_are_removed_and_jumps_made_once():
    first = iptables.document(layout.IP, [wanted((A,))], AROUND["ip"], "")
    saved = "\n".join(
        line.replace("-I ", "-A ") if line.startswith("-I ") else line for line in first.splitlines()
    )
    second = iptables.document(layout.IP, [], AROUND["ip"], saved + "\n")
    gone = {line[3:] for line in second.splitlines() if line.startswith("-X ")}
    assert gone == {
        line[1:].split()[0] for line in first.splitlines() if iptables._OURS.match(line[1:].split()[0])
    }
    assert Counter(line[:2] for line in first.splitlines())["-I"] == len(iptables.JUMPS)
    assert "-I " not in second


def run(world, command, text=""):
    fd = world.places["here"]
    done = subprocess.run(
        ["nsenter", f"--net=/proc/self/fd/{fd}", *command],
        input=text,
        text=True,
        capture_output=True,
        pass_fds=(fd,),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


ROWS = {1: wanted((A,), 1), 7: wanted((A, FAR), 7, affinity_seconds=60)}


@pytest.mark.root
def test_a_proxy_in_iptables_mode_notices_foreign_changes_and_leaves_nothing_stale(world):
    if shutil.which("iptables-restore") is None:
        pytest.skip("iptables is not installed")
    place = world.places["here"]
    prefix = ("nsenter", f"--net=/proc/{os.getpid()}/fd/{place}")
    program = programs.Iptables(AROUND, prefix)
    doors = proxying.Doors(
        firewall.FakeFirewall(), conntrack.NetlinkConntrack(place), generations.Generations(place)
    )
    one = proxying.Proxy("here", doors, AROUND, clock.SystemClock(), program)
    for number in (1, 7):
        one.changes.service(ROWS[number].service.key, ROWS[number].service)
        for index, slice_ in enumerate(slices_of(ROWS[number].service.key, (A, FAR))):
            one.changes.slice(f"s{number}-{index}", None, slice_)

    async def story():
        assert await one.sync()
        assert await one.check()
        assert not one.pending
        run(world, ["iptables", "-t", "nat", "-F", "KUBE-SERVICES"])
        assert not await one.check()
        one.start_over()
        await one.sync()
        assert await one.check()
        owned, written = one.rules()
        assert written[("ip", "nat")] == owned[("ip", "nat")]  # all of them
        before = run(world, ["iptables-save", "-t", "nat"])
        one.changes.service(ROWS[7].service.key, None)
        await one.sync()
        fewer, little = one.rules()
        assert fewer[("ip", "nat")] < owned[("ip", "nat")]
        assert little[("ip", "nat")] < fewer[("ip", "nat")]  # the other's chains were let alone
        assert "test/s7" in before
        one.start_over()
        left = run(world, ["iptables-save"])
        await one.sync()
        assert sorted(_rules_of(run(world, ["iptables-save"]))) == sorted(_rules_of(left))

    try:
        asyncio.run(story())
        assert isinstance(world.ask("b", ROWS[1].service.cluster_ips[0], 80), tuple)
        assert "s7" not in run(world, ["iptables-save"])
        assert one.mode == "iptables"
    finally:
        program.remove()
        doors.tracking.close()
        doors.counting.close()
    assert "KUBE" not in run(world, ["iptables-save"]) + run(world, ["ip6tables-save"])


def _rules_of(saved):
    return [line for line in saved.splitlines() if line.startswith("-A")]


def slices_of(key, members):
    ports = tuple((protocol, protocol, 8080) for protocol in ("tcp", "udp"))
    for six in (0, 1):
        made = tuple(endpoints.Endpoint(pair[six], True, True, False, node) for pair, node in members)
        yield endpoints.Slice(key, ports, made)
