"""One stored object as the server holds it: its JSON bytes, decoded only when and as far as needed.

Bytes in the store have no resourceVersion, for the revision is the store's to give; `splice` puts it in.
Documents handed out by `document` are shared: nobody changes them. `fresh` gives one to change.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec

from netemu.apiserver.statuses import Document


class _Meta(msgspec.Struct):
    labels: dict[str, str] | None = None


class _Labelled(msgspec.Struct):
    metadata: _Meta


class _RawMeta(msgspec.Struct):
    metadata: msgspec.Raw


_labels = msgspec.json.Decoder(_Labelled)
_metadata = msgspec.json.Decoder(_RawMeta)
_documents = msgspec.json.Decoder()
_NO_LABELS: dict[str, str] = {}


class Recent:
    """Bounds how many objects are held decoded: a decoded object is ten times as large as its JSON."""

    def __init__(self, most: int = 512) -> None:
        self._most = most
        self._entries: deque[Entry] = deque()

    def add(self, entry: Entry) -> None:
        self._entries.append(entry)
        if len(self._entries) > self._most:
            self._entries.popleft().forget()


class Entry:
    """An object at a revision, as JSON that clients may be sent."""

    __slots__ = ("_document", "_labels", "_recent", "data", "name", "namespace", "revision")

    def __init__(self, namespace: str, name: str, revision: int, data: bytes, recent: Recent) -> None:
        self._recent = recent
        self.namespace = namespace
        self.name = name
        self.revision = revision
        self.data = data
        self._labels: dict[str, str] | None = None
        self._document: Document | None = None

    @property
    def labels(self) -> dict[str, str]:
        """metadata.labels."""
        if self._labels is None:
            self._labels = _labels.decode(self.data).metadata.labels or _NO_LABELS
        return self._labels

    def document(self) -> Document:
        """The object, shared and not to be changed."""
        if self._document is None:
            self._document = self.fresh()
            self._recent.add(self)
        return self._document

    def forget(self) -> None:
        """Let go of the decoded object."""
        self._document = None

    def fresh(self) -> Document:
        """The object, the caller's own."""
        found: Document = _documents.decode(self.data)
        return found

    def at(self, revision: int, head: bytes) -> Entry:
        """The same state at another revision."""
        data = splice(strip(self.data, head), head, revision)
        return Entry(self.namespace, self.name, revision, data, self._recent)

    def partial(self) -> bytes:
        """The object as meta.k8s.io/v1 PartialObjectMetadata."""
        about = bytes(_metadata.decode(self.data).metadata)
        return b'{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":' + about + b"}"


def head(api_version: str, kind: str) -> bytes:
    """How every stored object of a kind begins."""
    return f'{{"kind":"{kind}","apiVersion":"{api_version}","metadata":{{'.encode()


def dump(document: Document) -> bytes:
    """The bytes to store: kind, apiVersion, metadata first, and no resourceVersion."""
    about: dict[str, Any] = {k: v for k, v in document["metadata"].items() if k != "resourceVersion"}
    ordered = {"kind": document["kind"], "apiVersion": document["apiVersion"], "metadata": about}
    return msgspec.json.encode(ordered | {k: v for k, v in document.items() if k not in ordered})


def splice(stored: bytes, head: bytes, revision: int) -> bytes:
    """Stored bytes with their resourceVersion. Every object has a name, so metadata is never empty."""
    return b'%b"resourceVersion":"%d",%b' % (head, revision, stored[len(head) :])


def strip(data: bytes, head: bytes) -> bytes:
    """The reverse of `splice`."""
    return head + data[data.index(b",", len(head)) + 1 :]
