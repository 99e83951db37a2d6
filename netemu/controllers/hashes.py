"""The hash in pod-template-hash and in the names of ReplicaSets. Knows bytes only.

Upstream hashes Go's debug print of the template; any stable text of it serves, for nobody compares hashes of
two clusters. The alphabet and the length are upstream's (rand.SafeEncodeString of a decimal 32-bit FNV-1a).
"""

import struct

import msgspec

from netemu.base import ids

_FNV_OFFSET, _FNV_PRIME = 2166136261, 16777619


def of_template(template: object, collisions: int | None = None) -> str:
    """Up to ten characters, e.g. `7c5ddbdf54`. `collisions`: the Deployment's status.collisionCount."""
    data = msgspec.json.encode(template, order="deterministic")
    value = fnv32a(data)
    if collisions is not None:
        value = fnv32a(struct.pack("<q", collisions), value)  # as Go's PutUint32 into eight bytes
    return safe(str(value))


def fnv32a(data: bytes, value: int = _FNV_OFFSET) -> int:
    """http://www.isthe.com/chongo/tech/comp/fnv/"""
    for byte in data:
        value = ((value ^ byte) * _FNV_PRIME) & 0xFFFFFFFF
    return value


def safe(text: str) -> str:
    """Each character by its code, into letters that form no words."""
    return "".join(ids.ALPHABET[ord(char) % len(ids.ALPHABET)] for char in text)
