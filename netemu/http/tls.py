"""TLS contexts out of PEM texts or files. HTTP/1.1 only; TLS 1.2 at least; certificates are checked.

A server asks for client certificates and takes those of one authority; it also takes clients without any.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from netemu.base import errors

Pem = Path | str | bytes


def server(certificate: Pem, key: Pem, client_ca: Pem | None = None) -> ssl.SSLContext:
    """A server's context. Paths are files, bytes are PEM themselves. Rejected when they cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    context.num_tickets = 1
    try:
        _load_chain(context, _text(certificate) + "\n" + _text(key))
        if client_ca is not None:
            context.load_verify_locations(cadata=_text(client_ca))
            context.verify_mode = ssl.CERT_OPTIONAL
    except (OSError, ssl.SSLError, ValueError) as error:
        raise errors.Rejected(f"cannot use the TLS credentials: {error}") from None
    return context


def client(
    ca: Pem | None, certificate: Pem | None = None, key: Pem | None = None, *, check_name: bool = True
) -> ssl.SSLContext:
    """A client's context; without `ca` the machine's own authorities count. Rejected."""
    try:
        if ca is None:
            context = ssl.create_default_context()
        else:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(cadata=_text(ca))
        context.check_hostname = check_name
        if certificate is not None and key is not None:
            _load_chain(context, _text(certificate) + "\n" + _text(key))
    except (OSError, ssl.SSLError, ValueError) as error:
        raise errors.Rejected(f"cannot use the TLS credentials: {error}") from None
    return context


def unverified(certificate: Pem | None = None, key: Pem | None = None) -> ssl.SSLContext:
    """A client's context for servers for whom nobody signs: whatever certificate they show is fine.
    Rejected."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        if certificate is not None and key is not None:
            _load_chain(context, _text(certificate) + "\n" + _text(key))
    except (OSError, ssl.SSLError, ValueError) as error:
        raise errors.Rejected(f"cannot use the TLS credentials: {error}") from None
    return context


def _text(pem: Pem) -> str:
    return pem.decode() if isinstance(pem, bytes) else Path(pem).read_text()


def _load_chain(context: ssl.SSLContext, pem: str) -> None:
    """OpenSSL reads a chain only from a file: give it one that has no name and never reaches a disk."""
    fd = os.memfd_create("credentials", os.MFD_CLOEXEC)
    try:
        os.write(fd, pem.encode())
        context.load_cert_chain(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)
