"""What the specification asks of ADD: a result that is true, and nothing left when there is none."""

from __future__ import annotations

import asyncio
from typing import Any

from netemu.kernel import operations as ops
from netemu.kubelet.cni.conformance import stage, subjects, trials
from netemu.kubelet.cni.conformance.trials import Inapplicable, Unmet
from netemu.wire import conflists

Trial = trials.Trial
AT_ONCE = 8


async def succeeds(on: Trial) -> None:
    about = await on.attach()
    try:
        _ = about.result
    finally:
        await on.detach(about)


async def result_of_every_version(on: Trial) -> None:
    for version in on.versions:
        about = await on.attach(version)
        try:
            found = about.result
            if found.get("cniVersion") != version:
                raise Unmet(f"asked in {version}, answered in {found.get('cniVersion')}")
            trials.read(found)
            kinds = {"version" in ip for ip in found.get("ips") or ()}
            if kinds == {True} and conflists.at_least(version, "1.0.0"):
                raise Unmet(f"{version}: ips have a version, which 1.0.0 took away")
        finally:
            await on.detach(about)


async def result_is_true(on: Trial) -> None:
    about = await on.attach()
    try:
        found = trials.read(about.result)
        if on.subject.part == subjects.IPAM:
            if not found.ips:
                raise Unmet("no ips in the result")
            if found.interfaces:
                raise Unmet("an IPAM plugin's result has no interfaces")
            return
        _interface_is_there(on, about, found)
    finally:
        await on.detach(about)


def _interface_is_there(on: Trial, about: trials.Attached, found: Any) -> None:
    mine = [i for i in found.interfaces if i.name == on.subject.ifname and i.sandbox]
    if not mine:
        raise Unmet(f"interfaces do not name {on.subject.ifname} with its sandbox")
    inside = stage.look(about.netns)
    link = inside.links.get(on.subject.ifname)
    if link is None:
        raise Unmet(f"there is no {on.subject.ifname} in the container")
    if not link.up:
        raise Unmet(f"{on.subject.ifname} is down")
    if mine[0].mac and mine[0].mac.lower() != link.mac:
        raise Unmet(f"{on.subject.ifname} has MAC {link.mac}, not {mine[0].mac}")
    if mine[0].sandbox != about.netns:
        raise Unmet(f"sandbox is {mine[0].sandbox!r}, not {about.netns!r}")
    held = {str(address.ip) for address in inside.addresses}
    for ip in conflists.addresses(found, on.subject.ifname):
        if str(ip.address) not in held:
            raise Unmet(f"{on.subject.ifname} does not have {ip.address}")
    reached = {str(route.dst) for route in inside.routes}
    for route in found.routes:
        if str(route.dst) not in reached:
            raise Unmet(f"there is no route to {route.dst}")


async def passes_result_on(on: Trial) -> None:
    if on.subject.part != subjects.CHAINED:
        raise Inapplicable("not a chained plugin")
    about = await on.attach()
    try:
        before, after = trials.read(about.before or {}), trials.read(about.result)
        lost = {ip.address for ip in before.ips} - {ip.address for ip in after.ips}
        lost |= {i.name for i in before.interfaces} - {i.name for i in after.interfaces}
        if lost:
            raise Unmet(f"lost from prevResult: {', '.join(sorted(map(str, lost)))}")
    finally:
        await on.detach(about)


async def without_prev_result(on: Trial) -> None:
    if on.subject.part != subjects.CHAINED:
        raise Inapplicable("not a chained plugin")
    container = on.stage.container()
    parameters = trials.named("conformance-alone", container, "eth0")
    heard = await on.stage.call("ADD", on.config(), **parameters)
    trials.refused(heard)


async def missing_namespace(on: Trial) -> None:
    if on.subject.part != subjects.INTERFACE:
        raise Inapplicable("it makes no interface")
    before = trials.traces(on)
    parameters = trials.named("conformance-lost", "/run/netns/lost", on.subject.ifname)
    trials.refused(await on.stage.call("ADD", on.config(), **parameters))
    await on.stage.call("DEL", on.config(), **parameters)
    trials.same(before, trials.traces(on))


async def used_name(on: Trial) -> None:
    trials.makes_interface(on)
    container = on.stage.container()
    with_veth = [ops.AddVeth("eth0", "other", None)]
    stage.change(container, *with_veth)
    before = trials.traces(on)
    about = await on.attach(netns=container)
    trials.refused(about.heard)
    trials.same(before, trials.traces(on))
    if "eth0" not in stage.look(container).links:
        raise Unmet("took the interface away that was there before")


async def added_twice(on: Trial) -> None:
    trials.makes_interface(on)
    about = await on.attach()
    try:
        held = {str(ip.address) for ip in trials.read(about.result).ips}
        second = await on.attach(netns=about.netns, container_id=about.container_id)
        trials.refused(second.heard)
        there = {str(address.ip) for address in stage.look(about.netns).addresses}
        if not held <= there:
            raise Unmet("the first attachment lost its addresses")
    finally:
        await on.detach(about)


async def exhausted(on: Trial) -> None:
    """One address to give away: the second container gets an error, and it again after DEL."""
    if not on.subject.addresses:
        raise Inapplicable("its addresses come from no range")
    narrow = {
        **on.subject.plugin["ipam"],
        "ranges": [[{"subnet": "10.98.0.0/30", "rangeStart": "10.98.0.2"}]],
    }
    narrow.pop("routes", None)
    more: dict[str, Any] = {"name": "narrow", "ipam": narrow}
    if on.subject.plugin.get("bridge"):
        more["bridge"] = "ct1"
    first = await on.attach(changes=more)
    try:
        _ = first.result
        before = trials.traces(on)
        second = await on.attach(changes=more)
        trials.refused(second.heard)
        await on.detach(second, changes=more)
        trials.same(before, trials.traces(on))
    finally:
        await on.detach(first, changes=more)
    third = await on.attach(changes=more)
    _ = third.result
    await on.detach(third, changes=more)


async def many_at_once(on: Trial) -> None:
    if on.subject.kind in ("host-device", "static"):
        raise Inapplicable("there is one of what it gives")
    found = await asyncio.gather(*(on.attach() for _ in range(AT_ONCE)))
    try:
        given = [ip.address for about in found for ip in trials.read(about.result).ips]
        if on.subject.kind != "loopback" and len(set(given)) != len(given):
            raise Unmet(f"{len(given) - len(set(given))} addresses were given twice")
    finally:
        await asyncio.gather(*(on.detach(about) for about in found))
