"""Certificates and keys as pure functions of who they are for: EC P-256, PEM in and out.

Knows X.509 as Kubernetes uses it (CN is the user, O the groups). Keeps nothing and reads no clock.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

FRONT_PROXY = "front-proxy-client"  # who the API server is to the servers behind APIServices
_LIFETIME = datetime.timedelta(days=3650)
_SKEW = datetime.timedelta(minutes=5)
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class Pair(NamedTuple):
    """A certificate and its private key, PEM."""

    certificate: bytes
    key: bytes


def key() -> bytes:
    """A new private key (for signing service-account tokens, too)."""
    return _dump_key(_new_key())


def ca(name: str, now: float) -> Pair:
    """A new certificate authority, valid for ten years from `now` (Unix seconds)."""
    from cryptography import x509

    private = _new_key()
    builder = _builder(_name(name, ()), private, now)
    builder = builder.issuer_name(_name(name, ()))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(authority=True), critical=True)
    identifier = x509.SubjectKeyIdentifier.from_public_key(private.public_key())
    builder = builder.add_extension(identifier, critical=False)
    return _sign(builder, private, private)


def client(authority: Pair, name: str, groups: Iterable[str], now: float) -> Pair:
    """A client certificate: the user `name` in `groups`."""
    from cryptography.x509.oid import ExtendedKeyUsageOID

    return _issue(authority, _name(name, groups), (ExtendedKeyUsageOID.CLIENT_AUTH,), (), now)


def server(
    authority: Pair,
    name: str,
    dns_names: Iterable[str],
    addresses: Iterable[IPAddress],
    now: float,
    *,
    groups: Iterable[str] = (),
) -> Pair:
    """A server certificate, valid for these names and addresses (IPv4 and IPv6)."""
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    names = [*(x509.DNSName(n) for n in dns_names), *(x509.IPAddress(a) for a in addresses)]
    return _issue(authority, _name(name, groups), (ExtendedKeyUsageOID.SERVER_AUTH,), names, now)


def kubeconfig(cluster: str, url: str, authority: bytes, user: str, pair: Pair) -> str:
    """A kubeconfig with everything inside."""
    ca_data, cert, key = (base64.b64encode(pem).decode() for pem in (authority, *pair))
    return f"""apiVersion: v1
kind: Config
clusters:
- name: {cluster}
  cluster:
    server: {url}
    certificate-authority-data: {ca_data}
users:
- name: {user}
  user:
    client-certificate-data: {cert}
    client-key-data: {key}
contexts:
- name: {cluster}
  context:
    cluster: {cluster}
    user: {user}
current-context: {cluster}
"""


def _issue(
    authority: Pair,
    subject: x509.Name,
    usages: Iterable[x509.ObjectIdentifier],
    names: Iterable[x509.GeneralName],
    now: float,
) -> Pair:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    issuer = x509.load_pem_x509_certificate(authority.certificate)
    issuer_key = serialization.load_pem_private_key(authority.key, None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
    private = _new_key()
    builder = _builder(subject, private, now).issuer_name(issuer.subject)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(authority=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    builder = builder.add_extension(identifier, critical=False)
    alternative = list(names)
    if alternative:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
    return _sign(builder, private, issuer_key)


def _new_key() -> ec.EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _dump_key(private: ec.EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _name(common: str, organizations: Iterable[str]) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in organizations]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(subject: x509.Name, private: ec.EllipticCurvePrivateKey, now: float) -> x509.CertificateBuilder:
    from cryptography import x509

    begin = datetime.datetime.fromtimestamp(int(now), datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).public_key(private.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(begin - _SKEW).not_valid_after(begin + _LIFETIME)


def _usage(*, authority: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not authority,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _sign(
    builder: x509.CertificateBuilder, private: ec.EllipticCurvePrivateKey, by: ec.EllipticCurvePrivateKey
) -> Pair:
    from cryptography.hazmat.primitives import hashes, serialization

    certificate = builder.sign(by, hashes.SHA256())
    return Pair(certificate.public_bytes(serialization.Encoding.PEM), _dump_key(private))
