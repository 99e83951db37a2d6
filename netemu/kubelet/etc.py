"""The text of a pod's /etc/hosts and /etc/resolv.conf. Pure: the node's own files are handed in."""

from __future__ import annotations

from typing import NamedTuple

from netemu.api import core
from netemu.base import errors

# A line that begins so becomes one for each address of the pod: they are known once it is connected.
ADDRESSES = "@addresses"

_LOCAL = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
"""
_MAX_HOSTNAME = 64
_MAX_NAMESERVERS, _MAX_SEARCHES = 3, 32  # resolv.conf(5), and KEP-2595


class Resolver(NamedTuple):
    """The lines of a resolv.conf."""

    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def hostname(pod: core.Pod, node: str, domain: str) -> str:
    """At most 63 characters, as a DNS label; with `setHostnameAsFQDN` the full name (KEP-1797).

    Rejected for a full name longer than Linux takes.
    """
    if pod.spec.hostNetwork:
        return node
    full = fqdn(pod, domain)
    if pod.spec.setHostnameAsFQDN and full:
        if len(full) > _MAX_HOSTNAME:
            raise errors.Rejected(
                f"Failed to construct FQDN from Pod hostname and cluster domain, FQDN {full} is too long "
                f"({_MAX_HOSTNAME} characters is the max, {len(full)} characters requested)"
            )
        return full
    return _label(pod)


def _label(pod: core.Pod) -> str:
    return (pod.spec.hostname or pod.metadata.name)[:63].rstrip("-.")


def fqdn(pod: core.Pod, domain: str) -> str:
    """`<hostname>.<subdomain>.<namespace>.svc.<domain>`; "" for a pod without a subdomain."""
    if not pod.spec.subdomain:
        return ""
    return f"{_label(pod)}.{pod.spec.subdomain}.{pod.metadata.namespace}.svc.{domain}"


def hosts(pod: core.Pod, node_file: str, domain: str) -> str:
    """/etc/hosts: the node's for a pod on its network, else one of the pod's own."""
    if pod.spec.hostNetwork:
        text = f"# Kubernetes-managed hosts file (host network).\n{node_file}"
    else:
        names = "\t".join(filter(None, (ADDRESSES, fqdn(pod, domain), _label(pod))))
        text = f"# Kubernetes-managed hosts file.\n{_LOCAL}{names}\n"
    if pod.spec.hostAliases:
        text += "\n# Entries added by HostAliases.\n"
        text += "".join("\t".join((alias.ip, *alias.hostnames)) + "\n" for alias in pod.spec.hostAliases)
    return text


def parse(text: str) -> Resolver:
    """A resolv.conf; the last search line counts, as in resolv.conf(5)."""
    nameservers: list[str] = []
    searches: tuple[str, ...] = ()
    options: list[str] = []
    for line in text.splitlines():
        words = line.split("#")[0].split(";")[0].split()
        if len(words) < 2:
            continue
        if words[0] == "nameserver":
            nameservers.append(words[1])
        elif words[0] in ("search", "domain"):
            searches = tuple(word for word in words[1:] if word != ".")
        elif words[0] == "options":
            options += words[1:]
    return Resolver(tuple(nameservers), searches, tuple(options))


def resolv_conf(pod: core.Pod, node: Resolver, cluster_dns: tuple[str, ...], domain: str) -> str:
    """/etc/resolv.conf by dnsPolicy, then dnsConfig on top (KEP-265)."""
    spec = pod.spec
    policy = spec.dnsPolicy or "ClusterFirst"
    if policy == "None":
        found = Resolver()
    elif cluster_dns and (
        policy == "ClusterFirstWithHostNet" or (policy == "ClusterFirst" and not spec.hostNetwork)
    ):
        svc = f"svc.{domain}"
        searches = (f"{pod.metadata.namespace}.{svc}", svc, domain, *node.searches)
        found = Resolver(cluster_dns, searches, ("ndots:5",))
    else:
        found = node
    if spec.dnsConfig is not None:
        extra = spec.dnsConfig
        given = dict.fromkeys((*found.nameservers, *extra.nameservers))
        wanted = {o.name: o.name if o.value is None else f"{o.name}:{o.value}" for o in extra.options}
        kept = {option.partition(":")[0]: option for option in found.options}
        searches = tuple(dict.fromkeys((*found.searches, *extra.searches)))
        found = Resolver(tuple(given), searches, tuple({**kept, **wanted}.values()))
    return _render(found)


def _render(value: Resolver) -> str:
    lines = []
    if value.searches:
        lines.append(f"search {' '.join(dict.fromkeys(value.searches[:_MAX_SEARCHES]))}")
    lines += [f"nameserver {ip}" for ip in value.nameservers[:_MAX_NAMESERVERS]]
    if value.options:
        lines.append(f"options {' '.join(value.options)}")
    return "".join(line + "\n" for line in lines)
