"""Who is who in a lab: one certificate authority, and a certificate for everybody. Knows files and modes.

Made once and kept in DIR/pki, so that a control plane that is started again is the same to everybody.
"""

import os
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from netemu.apiserver import pki
from netemu.lab import composition, config, layout

_MASTERS, _NODES = "system:masters", "system:nodes"
_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")


class Identity(NamedTuple):
    """What the API server is told, PEM; `account_key` signs the tokens of service accounts, `front_proxy` is
    shown to the servers behind APIServices."""

    ca: bytes
    server: pki.Pair
    kubelet_client: pki.Pair
    account_key: bytes
    front_proxy: pki.Pair


def prepare(place: layout.Layout, lab: config.LabConfig, api_port: int, now: float) -> Identity:
    """The lab's identity, made if it is not there; every node has its own then, the host a kubeconfig."""
    os.makedirs(place.pki, mode=0o700, exist_ok=True)
    directory = Path(place.pki)
    authority = _kept(directory, "ca", lambda: pki.ca(f"netemu-{lab.name}", now))
    for node in lab.nodes:
        _furnish_node(Path(place.on_node(node.name, composition.CREDENTIALS)), node, authority, now)
    admin = _kept(directory, "admin", lambda: pki.client(authority, "netemu-admin", (_MASTERS,), now))
    url = f"https://127.0.0.1:{api_port}"
    text = pki.kubeconfig(f"netemu-{lab.name}", url, authority.certificate, "netemu-admin", admin)
    _write(Path(place.kubeconfig), text.encode())
    return Identity(
        authority.certificate,
        _kept(directory, "apiserver", lambda: _server(authority, lab, now)),
        _kept(
            directory,
            "apiserver-kubelet-client",
            lambda: pki.client(authority, "kube-apiserver-kubelet-client", (_MASTERS,), now),
        ),
        _key(directory / "sa.key"),
        _kept(directory, "front-proxy-client", lambda: pki.client(authority, pki.FRONT_PROXY, (), now)),
    )


def _server(authority: pki.Pair, lab: config.LabConfig, now: float) -> pki.Pair:
    first = lab.nodes[0]
    addresses = ("127.0.0.1", "::1", *first.ips, *lab.kubernetes_service)
    names = (*_NAMES, f"kubernetes.default.svc.{config.CLUSTER_DOMAIN}", first.name)
    return pki.server(authority, "kube-apiserver", names, map(ip_address, addresses), now)


def _furnish_node(directory: Path, node: config.Node, authority: pki.Pair, now: float) -> None:
    """A node's directory appears whole or not at all: its agent is waiting for it."""
    if directory.exists():
        return
    draft = directory.with_name(directory.name + ".new")
    draft.mkdir(mode=0o700, exist_ok=True)
    user = f"system:node:{node.name}"
    client = pki.client(authority, user, (_NODES,), now)
    serving = pki.server(authority, user, (node.name,), map(ip_address, node.ips), now, groups=(_NODES,))
    _write(draft / "ca.crt", authority.certificate)
    for name, pair in (("client", client), ("server", serving)):
        _write(draft / f"{name}.crt", pair.certificate)
        _write(draft / f"{name}.key", pair.key)
    draft.rename(directory)


def _kept(directory: Path, name: str, make: Callable[[], pki.Pair]) -> pki.Pair:
    certificate, key = directory / f"{name}.crt", directory / f"{name}.key"
    if not certificate.exists():
        pair = make()
        _write(key, pair.key)
        _write(certificate, pair.certificate)
    return pki.Pair(certificate.read_bytes(), key.read_bytes())


def _key(path: Path) -> bytes:
    if not path.exists():
        _write(path, pki.key())
    return path.read_bytes()


def _write(path: Path, content: bytes) -> None:
    """For its owner only, and never half of it."""
    draft = path.with_name(path.name + ".new")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    draft.rename(path)
