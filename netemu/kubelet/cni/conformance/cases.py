"""What the specification (1.1.0) asks of a plugin, one case a rule. A case raises Unmet, or Inapplicable.

The codes demanded are those of section 5; where the specification only says "an error", any code will do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from netemu.base import errors
from netemu.kernel import netns as namespaces
from netemu.kernel import operations as ops
from netemu.kubelet.cni.conformance import stage, subjects, trials
from netemu.kubelet.cni.conformance.trials import Inapplicable, Unmet
from netemu.wire import cni, conflists

Trial = trials.Trial
_AT_ONCE = 8
_ATTACHMENT = {"CONTAINERID": "conformance-0", "IFNAME": "eth0", "NETNS": "/run/netns/none"}


class Case(NamedTuple):
    """`section` groups them in the table; `rule` is what the plugin must do."""

    section: str
    rule: str
    run: Callable[[Trial], Awaitable[None]]


# -- protocol


async def version_reply(on: Trial) -> None:
    heard = await on.stage.call("VERSION", {"cniVersion": "1.0.0"})
    trials.accepted(heard, silent=False)
    found = heard.document.get("supportedVersions") if isinstance(heard.document, dict) else None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise Unmet(f"no list supportedVersions: {trials.said(heard)}")
    on.versions = tuple(version for version in cni.VERSIONS if version in found)
    if "cniVersion" not in heard.document:
        raise Unmet("no cniVersion in the reply")
    if not on.versions:
        raise Unmet(f"supports none of {', '.join(cni.VERSIONS)}")


async def unknown_command(on: Trial) -> None:
    trials.refused(await on.stage.call("MAKE", on.config(), **_ATTACHMENT), cni.BAD_ENVIRONMENT)


async def missing_parameters(on: Trial) -> None:
    needed = {"ADD": ("CONTAINERID", "NETNS", "IFNAME", "PATH"), "DEL": ("CONTAINERID", "IFNAME", "PATH")}
    for command, names in needed.items():
        for name in names:
            heard = await on.stage.call(command, on.config(), **{**_ATTACHMENT, name: None})
            try:
                trials.refused(heard, cni.BAD_ENVIRONMENT)
            except Unmet as problem:
                raise Unmet(f"{command} without CNI_{name}: {problem}") from None


async def bad_container_id(on: Trial) -> None:
    for bad in ("../x", "-x", "a b"):
        heard = await on.stage.call("ADD", on.config(), **{**_ATTACHMENT, "CONTAINERID": bad})
        trials.refused(heard, cni.BAD_ENVIRONMENT)


async def bad_ifname(on: Trial) -> None:
    for bad in ("sixteen-letters!", "a/b", "a:b", ".", ".."):
        heard = await on.stage.call("ADD", on.config(), **{**_ATTACHMENT, "IFNAME": bad})
        trials.refused(heard, cni.BAD_ENVIRONMENT)


async def not_json(on: Trial) -> None:
    for bad in (b"{", b"", b"[1]", b'"x"'):
        heard = await on.stage.call("ADD", bad, **_ATTACHMENT)
        trials.refused(heard, cni.DECODING_FAILURE)


async def unknown_version(on: Trial) -> None:
    trials.refused(await on.stage.call("ADD", on.config("99.0.0"), **_ATTACHMENT), cni.INCOMPATIBLE_VERSION)


async def bad_name(on: Trial) -> None:
    for bad in ("", "a b", "/"):
        heard = await on.stage.call("ADD", on.config(changes={"name": bad}), **_ATTACHMENT)
        trials.refused(heard, cni.INVALID_CONFIGURATION)


async def own_namespace(on: Trial) -> None:
    on.since("1.1.0")
    _not_ipam(on)
    heard = await on.stage.call("ADD", on.config(), **{**_ATTACHMENT, "NETNS": "/proc/self/ns/net"})
    trials.refused(heard, cni.INVALID_NETNS)


async def unknown_keys(on: Trial) -> None:
    about = await on.attach(changes={"org.example.unheard-of": {"a": 1}})
    _ = about.result
    await on.detach(about)


# -- ADD


async def result_of_every_version(on: Trial) -> None:
    for version in on.versions:
        about = await on.attach(version)
        try:
            found = about.result
            if found.get("cniVersion") != version:
                raise Unmet(f"asked in {version}, answered in {found.get('cniVersion')}")
            _read(found)
            kinds = {"version" in ip for ip in found.get("ips") or ()}
            if kinds == {True} and conflists.at_least(version, "1.0.0"):
                raise Unmet(f"{version}: ips have a version, which 1.0.0 took away")
        finally:
            await on.detach(about)


async def result_is_true(on: Trial) -> None:
    about = await on.attach()
    try:
        found = _read(about.result)
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
        before, after = _read(about.before or {}), _read(about.result)
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
    before = _traces(on)
    parameters = trials.named("conformance-lost", "/run/netns/lost", on.subject.ifname)
    trials.refused(await on.stage.call("ADD", on.config(), **parameters))
    await on.stage.call("DEL", on.config(), **parameters)
    _same(before, _traces(on))


async def used_name(on: Trial) -> None:
    _makes_interface(on)
    container = on.stage.container()
    with_veth = [ops.AddVeth("eth0", "other", None)]
    stage.change(container, *with_veth)
    before = _traces(on)
    about = await on.attach(netns=container)
    trials.refused(about.heard)
    _same(before, _traces(on))
    if "eth0" not in stage.look(container).links:
        raise Unmet("took the interface away that was there before")


async def added_twice(on: Trial) -> None:
    _makes_interface(on)
    about = await on.attach()
    try:
        held = {str(ip.address) for ip in _read(about.result).ips}
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
        before = _traces(on)
        second = await on.attach(changes=more)
        trials.refused(second.heard)
        await on.detach(second, changes=more)
        _same(before, _traces(on))
    finally:
        await on.detach(first, changes=more)
    third = await on.attach(changes=more)
    _ = third.result
    await on.detach(third, changes=more)


async def many_at_once(on: Trial) -> None:
    if on.subject.kind in ("host-device", "static"):
        raise Inapplicable("there is one of what it gives")
    found = await asyncio.gather(*(on.attach() for _ in range(_AT_ONCE)))
    try:
        given = [ip.address for about in found for ip in _read(about.result).ips]
        if on.subject.kind != "loopback" and len(set(given)) != len(given):
            raise Unmet(f"{len(given) - len(set(given))} addresses were given twice")
    finally:
        await asyncio.gather(*(on.detach(about) for about in found))


# -- CHECK


async def check_after_add(on: Trial) -> None:
    on.since("0.4.0")
    about = await on.attach()
    try:
        heard = await on.stage.call("CHECK", on.again(about), **on.parameters(about))
        trials.accepted(heard)
    finally:
        await on.detach(about)


async def check_of_a_lost_link(on: Trial) -> None:
    on.since("0.4.0")
    _makes_interface(on)
    about = await on.attach()
    try:
        _ = about.result
        stage.change(about.netns, ops.DelLink("eth0"))
        trials.refused(await on.stage.call("CHECK", on.again(about), **on.parameters(about)))
    finally:
        await on.detach(about)


async def check_of_a_lost_address(on: Trial) -> None:
    on.since("0.4.0")
    _makes_interface(on)
    about = await on.attach()
    try:
        ips = conflists.addresses(_read(about.result), "eth0")
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
    before = _traces(on)
    about = await on.attach()
    _ = about.result
    trials.accepted(await on.detach(about))
    _same(before, _traces(on))
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
    before = _traces(on)
    for gone in (None, "/run/netns/lost"):
        about = await on.attach()
        _ = about.result
        namespaces.remove(about.netns)
        trials.accepted(await on.detach(about, netns=gone))
    await _until_same(on, before)


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
    before = _traces(on)
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
    await _until_same(on, before)


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
        for ip in _read(about.result).ips:
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


CASES = (
    Case("protocol", "VERSION prints the supported versions", version_reply),
    Case("protocol", "an unknown command is refused with code 4", unknown_command),
    Case("protocol", "missing CNI_ variables are refused with code 4", missing_parameters),
    Case("protocol", "a malformed container id is refused with code 4", bad_container_id),
    Case("protocol", "an impossible interface name is refused with code 4", bad_ifname),
    Case("protocol", "what is not a JSON object is refused with code 6", not_json),
    Case("protocol", "an unknown cniVersion is refused with code 1", unknown_version),
    Case("protocol", "a malformed network name is refused with code 7", bad_name),
    Case("protocol", "its own namespace is refused with code 8", own_namespace),
    Case("protocol", "keys it does not know are ignored", unknown_keys),
    Case("ADD", "the result has the configuration's cniVersion, in each of them", result_of_every_version),
    Case("ADD", "what the result says is there: link, MAC, addresses, routes", result_is_true),
    Case("ADD", "prevResult is passed on", passes_result_on),
    Case("ADD", "a missing prevResult is refused", without_prev_result),
    Case("ADD", "a missing namespace is refused, and DEL leaves nothing", missing_namespace),
    Case("ADD", "a used interface name is refused, and nothing is left", used_name),
    Case("ADD", "the same attachment twice is refused, and the first one stays", added_twice),
    Case("ADD", "an exhausted range is refused, and DEL gives all back", exhausted),
    Case("ADD", f"{_AT_ONCE} at once all succeed, no address twice", many_at_once),
    Case("CHECK", "succeeds straight after ADD", check_after_add),
    Case("CHECK", "fails when the link is gone", check_of_a_lost_link),
    Case("CHECK", "fails when an address is gone", check_of_a_lost_address),
    Case("CHECK", "a missing prevResult is refused", check_without_result),
    Case("DEL", "takes away all that ADD made, and prints nothing", del_undoes),
    Case("DEL", "succeeds twice", del_twice),
    Case("DEL", "succeeds for what was never added", del_of_nothing),
    Case("DEL", "succeeds when the namespace is gone, and gives addresses back", del_without_namespace),
    Case("DEL", "succeeds without prevResult", del_without_result),
    Case("DEL", "cleans up behind an ADD that was killed", killed_in_the_middle),
    Case("GC", "keeps valid attachments and gives back the others", gc_gives_back),
    Case("GC", "succeeds when there is nothing to do", gc_without_stale),
    Case("STATUS", "succeeds, and prints nothing, when the plugin is ready", status_when_ready),
    Case("STATUS", "GC and STATUS in a version without them are refused with code 1", too_old_for_commands),
)


# -- what cases have in common


def _read(document: dict[str, Any]) -> Any:
    try:
        return cni.result(document)
    except cni.Failure as failure:
        raise Unmet(f"not a result: {failure}") from None


def _traces(on: Trial) -> tuple[frozenset[str], frozenset[str]]:
    """What a plugin may leave on the machine: links and addresses given away."""
    return on.stage.links(), on.stage.leases()


def _same(before: tuple[frozenset[str], ...], after: tuple[frozenset[str], ...]) -> None:
    for old, new in zip(before, after, strict=True):
        if more := sorted(new - old):
            raise Unmet(f"left behind: {', '.join(more)}")


async def _until_same(on: Trial, before: tuple[frozenset[str], ...]) -> None:
    """The kernel takes links of a dropped namespace away in its own time."""
    for _ in range(100):
        try:
            _same(before, _traces(on))
        except Unmet:
            await asyncio.sleep(0.05)
        else:
            return
    _same(before, _traces(on))


def _not_ipam(on: Trial) -> None:
    if on.subject.part == subjects.IPAM:
        raise Inapplicable("IPAM plugins do not enter namespaces")


def _makes_interface(on: Trial) -> None:
    if on.subject.part != subjects.INTERFACE or on.subject.kind == "loopback":
        raise Inapplicable("it makes no interface")


async def judge(case: Case, on: Trial) -> tuple[str, str]:
    """The outcome of a case, "ok", "failed" or "n/a", and why."""
    try:
        await case.run(on)
    except Inapplicable as reason:
        return "n/a", str(reason)
    except (Unmet, errors.NetemuError) as reason:
        return "failed", str(reason)
    return "ok", ""
