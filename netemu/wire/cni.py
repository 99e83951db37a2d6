"""The Container Network Interface's documents: calls, configurations, results, errors (specification 1.1.0).

Pure: reads what it is given, opens nothing. Serves both sides, executables and the runtime that calls them.
Results are held in the newest shape and rendered for the version a configuration asks for.
Standard library only: an executable that imports this must start in milliseconds.
"""

from netemu.wire import addresses, documents, records

TYPE_CHECKING = False  # typing itself costs ten milliseconds at the start of an executable
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    Document = dict[str, Any]

VERSIONS = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
NEWEST = VERSIONS[-1]

# Well-known error codes; from 100 on they are a plugin's own.
INCOMPATIBLE_VERSION, UNSUPPORTED_FIELD, UNKNOWN_CONTAINER, BAD_ENVIRONMENT = 1, 2, 3, 4
IO_FAILURE, DECODING_FAILURE, INVALID_CONFIGURATION, INVALID_NETNS = 5, 6, 7, 8
TRY_AGAIN, NOT_AVAILABLE, LIMITED_CONNECTIVITY, INTERNAL = 11, 50, 51, 999

# Which parameters a command cannot do without, by the environment variable that carries them.
_ALL = ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH")
REQUIRED = {
    "ADD": _ALL,
    "CHECK": _ALL,
    "DEL": ("CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"),
    "GC": ("CNI_PATH",),
    "STATUS": ("CNI_PATH",),
    "VERSION": (),
}
# The first version of the specification that has a command, where it is not the first of all.
SINCE = {"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}

_NAME_START = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_NAME = _NAME_START | frozenset("_.-")

# `sandbox` is "" for a link on the host; mtu 0: not said.
Interface = records.record("Interface", "name mac mtu sandbox", defaults=("", 0, ""))
# address: IPv4Interface | IPv6Interface; gateway: an address or None; interface: an index, or None.
Address = records.record("Address", "address gateway interface", defaults=(None, None))
# dst: a network; gw: an address or None. The four numbers are None when not said (1.1.0).
Route = records.record(
    "Route", "dst gw mtu advmss priority table scope", defaults=(None, None, None, None, None, None)
)
Dns = records.record("Dns", "nameservers domain search options", defaults=((), "", (), ()))
Result = records.record("Result", "interfaces ips routes dns", defaults=((), (), (), Dns()))
# `environment` is all that came along, for programs that are run on the call's behalf; `alone`: the process
# exists for this call only.
Call = records.record(
    "Call", "command container_id netns ifname args path environment alone", defaults=({}, False)
)


class Failure(Exception):
    """What the specification calls an error: a code, one line, and details for whoever debugs it."""

    def __init__(self, code: int, msg: str, details: str = "") -> None:
        super().__init__(msg)
        self.code, self.msg, self.details = code, msg, details

    def __str__(self) -> str:
        return f"{self.msg}: {self.details}" if self.details else self.msg

    def document(self, version: str = NEWEST) -> "Document":
        """The error object for standard output."""
        found: Document = {"cniVersion": version, "code": self.code, "msg": self.msg}
        if self.details:
            found["details"] = self.details
        return found


def failure(document: "Document") -> Failure:
    """The error in an error object of any plugin; a missing code is INTERNAL."""
    code = document.get("code")
    return Failure(
        code if isinstance(code, int) else INTERNAL,
        str(document.get("msg") or "the plugin gave no reason"),
        str(document.get("details") or ""),
    )


# -- what an executable is called with -----------------------------------------------------------------------


def call(environment: "Mapping[str, str]") -> Call:
    """The parameters of a call. Failure BAD_ENVIRONMENT names all that is missing or malformed."""
    command = environment.get("CNI_COMMAND", "")
    if command not in REQUIRED:
        raise Failure(BAD_ENVIRONMENT, f"unknown CNI_COMMAND: {command}")
    missing = [name for name in REQUIRED[command] if not environment.get(name)]
    if missing:
        raise Failure(BAD_ENVIRONMENT, "required env variables [" + ",".join(missing) + "] missing")
    found = Call(
        command=command,
        container_id=environment.get("CNI_CONTAINERID", ""),
        netns=environment.get("CNI_NETNS", ""),
        ifname=environment.get("CNI_IFNAME", ""),
        args=arguments(environment.get("CNI_ARGS", "")),
        path=tuple(filter(None, environment.get("CNI_PATH", "").split(":"))),
        environment=environment,
    )
    if "CNI_CONTAINERID" in REQUIRED[command]:
        if not is_name(found.container_id):
            raise Failure(BAD_ENVIRONMENT, "invalid characters in CNI_CONTAINERID", found.container_id)
        check_ifname(found.ifname)
    return found


def arguments(text: str) -> dict[str, str]:
    """CNI_ARGS, `K=V;K=V`."""
    found = {}
    for pair in filter(None, text.split(";")):
        key, separator, value = pair.partition("=")
        if not separator or not key:
            raise Failure(BAD_ENVIRONMENT, f"invalid CNI_ARGS pair {pair!r}")
        found[key] = value
    return found


def is_name(text: str) -> bool:
    """Whether a network name or container id has the characters the specification allows."""
    return bool(text) and text[0] in _NAME_START and _NAME.issuperset(text)


def check_ifname(name: str) -> None:
    """Failure BAD_ENVIRONMENT for what cannot be the name of a link on Linux."""
    bad = name in (".", "..") or any(c in "/:" or c.isspace() for c in name)
    if bad or not 1 <= len(name.encode()) <= 15:
        raise Failure(BAD_ENVIRONMENT, f"invalid interface name {name!r}")


def configuration(text: "bytes | str | Document") -> "Document":
    """The network configuration of one plugin. Other keys than the common ones are the plugin's to judge."""
    document = text if isinstance(text, dict) else _load(text, "network configuration")
    version = document.get("cniVersion", "0.1.0")  # the specification's meaning of a missing version
    if version not in VERSIONS:
        raise Failure(
            INCOMPATIBLE_VERSION,
            "incompatible CNI versions",
            f"config is {documents.dump(version)}, plugin supports {documents.dump(VERSIONS)}",
        )
    name = document.get("name", "")
    if not isinstance(name, str) or not is_name(name):
        raise Failure(INVALID_CONFIGURATION, "missing or invalid network name", str(name))
    check_shapes(document)
    return document


# What a value must be where it stands in a configuration; null and an empty one are as good as nothing.
_SHAPES = (
    (
        "object",
        "args args.cni runtimeConfig runtimeConfig.bandwidth prevResult ipam ipam.dns dns sysctl delegate",
    ),
    (
        "string",
        "args.cni.mac runtimeConfig.mac ipam.type ipam.dataDir ipam.resolvConf ipam.dns.domain dns.domain"
        " bridge master mode mac dataDir subnetFile ipMasqBackend backend",
    ),
    ("list", "runtimeConfig.ipRanges ipam.ranges ipam.routes ipam.addresses runtimeConfig.portMappings"),
    (
        "strings",
        "args.cni.ips runtimeConfig.ips dns.nameservers dns.search dns.options"
        " ipam.dns.nameservers ipam.dns.search ipam.dns.options conditionsV4 conditionsV6",
    ),
)
_TYPES = {"object": dict, "string": str, "list": list, "strings": list}


def check_shapes(document: "Document") -> None:
    """Failure DECODING_FAILURE for a value of another JSON type than its place in a configuration wants."""
    for shape, ways in _SHAPES:
        for way in ways.split():
            value = document
            for key in way.split("."):
                value = value.get(key) if isinstance(value, dict) else None  # type: ignore[assignment]
            good = not value or isinstance(value, _TYPES[shape])
            if good and value and shape == "strings":
                good = all(isinstance(each, str) for each in value)
            if not good:
                raise Failure(DECODING_FAILURE, f"network configuration: {way} must be {shape}", repr(value))


def _load(text: bytes | str, what: str) -> "Document":
    try:
        document = documents.load(text)
    except ValueError as problem:
        raise Failure(DECODING_FAILURE, f"failed to parse {what}", str(problem)) from None
    if not isinstance(document, dict):
        raise Failure(DECODING_FAILURE, f"{what} is not a JSON object")
    return document


def valid_attachments(document: "Document") -> "set[tuple[str, str]]":
    """For GC: (container id, interface name) of all that is still there. It must be said, even if empty."""
    found = document.get("cni.dev/valid-attachments")
    try:
        if not isinstance(found, list):
            raise TypeError("it is missing")
        return {(each["containerID"], each["ifname"]) for each in found}
    except (KeyError, TypeError) as problem:
        raise Failure(INVALID_CONFIGURATION, "invalid cni.dev/valid-attachments", str(problem)) from None


def check_command(command: str, version: str) -> None:
    """Failure INCOMPATIBLE_VERSION when the configuration's version has no such command yet."""
    since = SINCE.get(command)
    if since and VERSIONS.index(version) < VERSIONS.index(since):
        raise Failure(INCOMPATIBLE_VERSION, f"config version {version} does not allow {command}")


def version_reply(version: str = NEWEST) -> "Document":
    """What VERSION prints."""
    return {"cniVersion": version, "supportedVersions": list(VERSIONS)}


# -- results -------------------------------------------------------------------------------------------------


def result(document: "Document") -> Result:
    """A result of any version from 0.3.0 on. Failure DECODING_FAILURE when it is none."""
    version = document.get("cniVersion", "0.3.0")
    if version not in VERSIONS:
        raise Failure(INCOMPATIBLE_VERSION, f"result of unsupported CNI version {version}")
    try:
        ips = tuple(
            Address(
                addresses.ip_interface(ip["address"]),
                addresses.ip_address(ip["gateway"]) if ip.get("gateway") else None,
                _index(ip.get("interface")),
            )
            for ip in document.get("ips") or ()
        )
        routes = tuple(_route(r) for r in document.get("routes") or ())
        interfaces = tuple(
            Interface(i["name"], i.get("mac", ""), i.get("mtu", 0), i.get("sandbox", ""))
            for i in document.get("interfaces") or ()
        )
        return Result(interfaces, ips, routes, dns(document.get("dns") or {}))
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise Failure(DECODING_FAILURE, "cannot read a CNI result", str(problem)) from None


def _index(value: "Any") -> "int | None":
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise ValueError(f"{value!r} is no index of an interface")
    return value


def routes(documents: "Sequence[Document]") -> "tuple[Route, ...]":
    """The routes of an IPAM configuration. Failure INVALID_CONFIGURATION for what is no route."""
    try:
        return tuple(_route(document) for document in documents)
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise Failure(INVALID_CONFIGURATION, "invalid route", str(problem)) from None


def _route(document: "Document") -> Route:
    gateway = document.get("gw")
    return Route(
        addresses.ip_network(document["dst"]),
        addresses.ip_address(gateway) if gateway else None,
        *(document.get(key) for key in ("mtu", "advmss", "priority", "table", "scope")),
    )


def dns(document: "Document") -> Dns:
    """The dns part of a result or a configuration."""
    return Dns(
        tuple(document.get("nameservers") or ()),
        document.get("domain") or "",
        tuple(document.get("search") or ()),
        tuple(document.get("options") or ()),
    )


def render(value: Result, version: str, *, ipam: bool = False) -> "Document":
    """The result as a document of `version`. An IPAM plugin's has no interfaces."""
    modern, newest = version in ("1.0.0", "1.1.0"), version == "1.1.0"
    document: Document = {"cniVersion": version}
    if value.interfaces and not ipam:
        document["interfaces"] = [_render_interface(i, newest) for i in value.interfaces]
    if value.ips:
        document["ips"] = [_render_address(ip, modern) for ip in value.ips]
    if value.routes:
        document["routes"] = [_render_route(route, newest) for route in value.routes]
    document["dns"] = {
        key: list(part) if isinstance(part, tuple) else part
        for key, part in zip(Dns._fields, value.dns, strict=True)
        if part
    }
    return document


def _render_interface(value: Interface, newest: bool) -> "Document":
    document = {"name": value.name}
    if value.mac:
        document["mac"] = value.mac
    if value.mtu and newest:
        document["mtu"] = value.mtu
    if value.sandbox:
        document["sandbox"] = value.sandbox
    return document


def _render_address(value: Address, modern: bool) -> "Document":
    document: Document = {} if modern else {"version": str(value.address.version)}
    if value.interface is not None:
        document["interface"] = value.interface
    document["address"] = str(value.address)
    if value.gateway is not None:
        document["gateway"] = str(value.gateway)
    return document


def _render_route(value: Route, newest: bool) -> "Document":
    document: Document = {"dst": str(value.dst)}
    if value.gw is not None:
        document["gw"] = str(value.gw)
    if newest:
        for key in ("mtu", "advmss", "priority", "table", "scope"):
            if getattr(value, key) is not None:
                document[key] = getattr(value, key)
    return document
