"""What the specification asks of any call (sections 2 and 5): parameters, configurations, codes of errors."""

from __future__ import annotations

from netemu.kubelet.cni.conformance import trials
from netemu.kubelet.cni.conformance.trials import Unmet
from netemu.wire import cni

Trial = trials.Trial
_ATTACHMENT = {"CONTAINERID": "conformance-0", "IFNAME": "eth0", "NETNS": "/run/netns/none"}


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
    trials.not_ipam(on)
    heard = await on.stage.call("ADD", on.config(), **{**_ATTACHMENT, "NETNS": "/proc/self/ns/net"})
    trials.refused(heard, cni.INVALID_NETNS)


async def unknown_keys(on: Trial) -> None:
    about = await on.attach(changes={"org.example.unheard-of": {"a": 1}})
    _ = about.result
    await on.detach(about)
