"""Network configuration lists: what a CNI runtime reads from its directory, and what it hands to each plugin.

Pure: texts in, values and documents out (specification 1.1.0, sections 1 and 3). Knows no plugin in
particular; keys that are a plugin's own are passed on as they are written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from netemu.wire import cni, documents

Document = dict[str, Any]

VALID_ATTACHMENTS = "cni.dev/valid-attachments"
_ATTACHMENTS = "cni.dev/attachments"  # as libcni 1.2.0 spelled it; it writes both since


class ConfigList(NamedTuple):
    """`version` is what all plugins are called with; `plugins` are documents as written.

    `text` is a list which reads back to this one: the file's bytes, unless plugins came from other files.
    `versions`: all that it offers and this code knows, oldest first; `version` is one of them, the highest
    unless the plugins know only older ones.
    """

    name: str
    version: str
    plugins: tuple[Document, ...]
    text: bytes
    versions: tuple[str, ...] = ()
    disable_check: bool = False
    disable_gc: bool = False
    only_inlined: bool = False

    def allows(self, command: str) -> bool:
        """Whether the plugins of this list may be asked that: by its version, disableCheck and disableGC."""
        off = {"CHECK": self.disable_check, "GC": self.disable_gc}.get(command, False)
        return not off and at_least(self.version, cni.SINCE.get(command, cni.VERSIONS[0]))


class Held(NamedTuple):
    """An attachment that GC shall leave alone."""

    container_id: str
    ifname: str


def at_least(version: str, other: str) -> bool:
    """Whether a known version is as new as another."""
    return cni.VERSIONS.index(version) >= cni.VERSIONS.index(other)


def parse(text: bytes, *, single: bool | None = None) -> ConfigList:
    """A .conflist, or a `single` .conf of one plugin (None: by its looks). Failure says what is wrong.

    A list may have no plugins yet: those of its directory come with `extended`, `complete` is the last word.
    """
    document = _load(text)
    if single is None:
        single = "plugins" not in document and "type" in document
    if single:
        if "type" not in document:
            raise _invalid(document.get("name", ""), "missing plugin type")
        common = {key: document[key] for key in ("cniVersion", "name") if key in document}
        document = common | {"plugins": [document], "loadOnlyInlinedPlugins": True}
        text = documents.dump(document).encode()
    name, plugins = document.get("name", ""), document.get("plugins", [])
    if not isinstance(name, str) or not cni.is_name(name):
        raise cni.Failure(cni.INVALID_CONFIGURATION, "missing or invalid network name", str(name))
    if not isinstance(plugins, list):
        raise _invalid(name, "plugins is not a list")
    known = _known(name, document)
    return ConfigList(
        name=name,
        version=known[-1],
        versions=known,
        plugins=tuple(_plugin(name, plugin) for plugin in plugins),
        text=text,
        disable_check=_flag(name, document, "disableCheck"),
        disable_gc=_flag(name, document, "disableGC"),
        only_inlined=_flag(name, document, "loadOnlyInlinedPlugins"),
    )


def extended(network: ConfigList, texts: Sequence[bytes]) -> ConfigList:
    """With the plugins of the list's own directory behind its inlined ones (one file each)."""
    if not texts:
        return network
    more = [_plugin(network.name, _load(text)) for text in texts]
    document = _load(network.text)
    document["plugins"] = [*(document.get("plugins") or []), *more]
    document["loadOnlyInlinedPlugins"] = True
    return network._replace(
        plugins=(*network.plugins, *more), text=documents.dump(document).encode(), only_inlined=True
    )


def complete(network: ConfigList) -> ConfigList:
    """The same list; Failure when it has no plugins."""
    if not network.plugins:
        raise _invalid(network.name, "no plugins in list")
    return network


def _load(text: bytes) -> Document:
    try:
        document = documents.load(text)
    except ValueError as problem:
        raise cni.Failure(
            cni.DECODING_FAILURE, "failed to parse network configuration list", str(problem)
        ) from None
    if not isinstance(document, dict):
        raise cni.Failure(cni.DECODING_FAILURE, "network configuration list is not a JSON object")
    return document


def _plugin(name: str, plugin: Any) -> Document:
    kind = plugin.get("type") if isinstance(plugin, dict) else None
    if not isinstance(kind, str) or not kind:
        raise _invalid(name, "a plugin has no type")
    for key in ("capabilities", "ipam", "args"):
        if not isinstance(plugin.get(key, {}), dict | None):
            raise _invalid(name, f"plugin {kind}: {key} is not an object")
    return dict(plugin)


def _flag(name: str, document: Document, key: str) -> bool:
    """A boolean, which may be written as a string."""
    words = {"true": True, "false": False, "": False}
    value = document.get(key, False)
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    if not isinstance(value, bool):
        raise _invalid(name, f"invalid value for {key}: {documents.dump(value)}")
    return value


def _known(name: str, document: Document) -> tuple[str, ...]:
    """The versions that both the list and this code know (cniVersions is new in 1.1.0)."""
    offered = document.get("cniVersions") or []
    offered = [*(offered if isinstance(offered, list) else []), document.get("cniVersion", "0.1.0")]
    known = tuple(version for version in cni.VERSIONS if version in offered)
    if not known:
        raise cni.Failure(
            cni.INCOMPATIBLE_VERSION, f"network {name}: unsupported CNI version", ", ".join(map(str, offered))
        )
    return known


def _invalid(name: str, what: str) -> cni.Failure:
    return cni.Failure(cni.INVALID_CONFIGURATION, f"network {name}: {what}")


# -- what one plugin of a list reads on standard input (section 4) ------------------------------------------


def request(
    network: ConfigList, plugin: Document, *, previous: Document | None, offers: Mapping[str, Any]
) -> Document:
    """For ADD, CHECK and DEL. `offers` are the runtime's capability arguments: a plugin gets those it
    declares. `previous`: the last result, in the list's version (`in_version`).
    """
    document = _common(network, plugin, offers)
    if previous is not None:
        document["prevResult"] = previous
    return document


def upkeep(
    network: ConfigList,
    plugin: Document,
    held: Sequence[Held] | None = None,
    *,
    offers: Mapping[str, Any] = {},
) -> Document:
    """For STATUS, and with the attachments that are still in use for GC. `offers` concern all containers."""
    document = _common(network, plugin, offers)
    if held is not None:
        document[VALID_ATTACHMENTS] = [{"containerID": h.container_id, "ifname": h.ifname} for h in held]
        document[_ATTACHMENTS] = document[VALID_ATTACHMENTS]
    return document


def _common(network: ConfigList, plugin: Document, offers: Mapping[str, Any]) -> Document:
    document = {key: value for key, value in plugin.items() if key != "capabilities"}
    given = {key: value for key, value in offers.items() if (plugin.get("capabilities") or {}).get(key)}
    if given:
        document["runtimeConfig"] = given
    return document | {"cniVersion": network.version, "name": network.name}


def addresses(result: cni.Result, ifname: str) -> tuple[Any, ...]:
    """The cni.Addresses on an interface in the container; a plugin need not say whose they are."""
    inside = {i for i, each in enumerate(result.interfaces) if each.name == ifname and each.sandbox}
    ours = tuple(ip for ip in result.ips if ip.interface in inside)
    return ours or tuple(ip for ip in result.ips if ip.interface is None)


def in_version(result: Document, version: str) -> Document:
    """A result as a document of `version`; the same one when it is that already. Failure: it is none."""
    if result.get("cniVersion") == version:
        return result
    return cni.render(cni.result(result), version)
