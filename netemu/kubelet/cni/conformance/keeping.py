"""What the specification asks of CHECK, DEL, GC and STATUS: what was attached is looked after, and goes."""

from __future__ import annotations

from netemu.kernel import netns as namespaces
from netemu.kernel import operations as ops
from netemu.kubelet.cni.conformance import stage, subjects, trials
from netemu.kubelet.cni.conformance.trials import Inapplicable, Unmet
from netemu.wire import cni, conflists

Trial = trials.Trial


async def check_after_add(on: Trial) -> None:
    on.since("0.4.0")
    about = await on.attach()
    try:
        _ = about.result
        heard = await on.stage.call("CHECK", on.again(about), **on.parameters(about))
        trials.accepted(heard)
    finally:
        await on.detach(about)


async def check_of_a_lost_link(on: Trial) -> None:
    on.since("0.4.0")
    trials.makes_interface(on)
    about = await on.attach()
    try:
        _ = about.result
        stage.change(about.netns, ops.DelLink("eth0"))
        trials.refused(await on.stage.call("CHECK", on.again(about), **on.parameters(about)))
    finally:
        await on.detach(about)


async def check_of_a_lost_address(on: Trial) -> None:
    on.since("0.4.0")
    trials.makes_interface(on)
    about = await on.attach()
    try:
        ips = conflists.addresses(trials.read(about.result), "eth0")
        if not ips:
            raise Inapplicable("it gives no addresses")
        stage.change(about.netns, ops.DelAddress("eth0", ips[0].address))
        trials.refused(await on.stage.call("CHECK", on.again(about), **on.parameters(about)))
    finally:
        await on.detach(about)


async def check_without_result(on: Trial) -> None:
    on.since("0.4.0")
    if on.subject.part == subjects.IPAM or on.subject.kind == "loopback":
        raise Inapplicable("it needs no prevResult")
    about = await on.attach()
    try:
        _ = about.result
        trials.refused(await on.stage.call("CHECK", on.config(), **on.parameters(about)))
    finally:
        await on.detach(about)


# -- DEL


async def del_undoes(on: Trial) -> None:
    warm = await on.attach()  # what stays for good, a bridge say, is there from now on
    await on.detach(warm)
    before = trials.traces(on)
    about = await on.attach()
    _ = about.result
    trials.accepted(await on.detach(about))
    trials.same(before, trials.traces(on))
    if on.subject.part == subjects.INTERFACE and "eth0" in stage.look(about.netns).links:
        raise Unmet("eth0 is still in the container")


async def del_twice(on: Trial) -> None:
    about = await on.attach()
    await on.detach(about)
    trials.accepted(await on.detach(about))


async def del_of_nothing(on: Trial) -> None:
    parameters = trials.named("conformance-never", on.stage.container(), on.subject.ifname)
    trials.accepted(await on.stage.call("DEL", on.config(), **parameters))


async def del_without_namespace(on: Trial) -> None:
    before = trials.traces(on)
    for gone in (None, "/run/netns/lost"):
        about = await on.attach()
        _ = about.result
        namespaces.remove(about.netns)
        trials.accepted(await on.detach(about, netns=gone))
    await trials.until_same(on, before)


async def del_without_result(on: Trial) -> None:
    about = await on.attach()
    _ = about.result
    heard = await on.stage.call("DEL", on.config(), **on.parameters(about))
    if about.before is not None:
        await on.detach(about)
    trials.accepted(heard)


async def killed_in_the_middle(on: Trial) -> None:
    """Whatever moment it is killed in: DEL afterwards leaves nothing."""
    warm = await on.attach()
    await on.detach(warm)
    before = trials.traces(on)
    for step in range(6):
        about = warm._replace(container_id=f"conformance-killed-{step}", netns=on.stage.container())
        if on.subject.part == subjects.CHAINED:
            about = await on.attach(netns=about.netns, container_id=about.container_id)
            await on.stage.call("DEL", on.again(about), **on.parameters(about))
        await on.stage.killed(0.004 * (step + 1), on.config(previous=about.before), **on.parameters(about))
        heard = await on.stage.call("DEL", on.config(), **on.parameters(about))
        trials.accepted(heard)
        if about.before is not None:
            await on.detach(about)
    await trials.until_same(on, before)


# -- GC and STATUS (since 1.1.0)


async def gc_gives_back(on: Trial) -> None:
    version = on.since("1.1.0")
    kept, lost = await on.attach(), await on.attach()
    try:
        _, _ = kept.result, lost.result
        before = on.stage.leases()
        held = [{"containerID": kept.container_id, "ifname": on.subject.ifname}]
        config = on.config(version) | {conflists.VALID_ATTACHMENTS: held}
        trials.accepted(await on.stage.call("GC", config))
        if on.subject.addresses:
            _collected(on, before, kept, lost)
    finally:
        await on.detach(kept)
        await on.detach(lost)


def _collected(on: Trial, before: frozenset[str], kept: trials.Attached, lost: trials.Attached) -> None:
    after = on.stage.leases()
    for about, stays in ((kept, True), (lost, False)):
        for ip in trials.read(about.result).ips:
            lease = [path for path in before if path.endswith(f"/{ip.address.ip}")]
            if lease and (lease[0] in after) != stays:
                what = "is gone, though it is valid" if stays else "is still held, though nobody uses it"
                raise Unmet(f"{ip.address.ip} {what}")


async def gc_without_stale(on: Trial) -> None:
    version = on.since("1.1.0")
    config = on.config(version) | {conflists.VALID_ATTACHMENTS: []}
    trials.accepted(await on.stage.call("GC", config))
    trials.accepted(await on.stage.call("GC", config))


async def status_when_ready(on: Trial) -> None:
    trials.accepted(await on.stage.call("STATUS", on.config(on.since("1.1.0"))))


async def too_old_for_commands(on: Trial) -> None:
    on.since("1.1.0")
    for command in ("GC", "STATUS"):
        trials.refused(await on.stage.call(command, on.config("1.0.0")), cni.INCOMPATIBLE_VERSION)
