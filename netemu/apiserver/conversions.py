"""Objects of a custom kind converted between its versions by the webhook its definition names.

Source: apiextensions-apiserver pkg/apiserver/conversion (webhook_converter.go). ConversionReview v1 only.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgspec

from netemu.apiserver import callbacks, objects, statuses

Document = statuses.Document
_API = "apiextensions.k8s.io/v1"
_PATIENCE = 30.0  # seconds
_CONVERTED = ("labels", "annotations")  # all of the metadata that a webhook may change


class Webhook:
    """The conversion of one definition."""

    def __init__(
        self, definition: Document, storage: str, asking: callbacks.Callbacks, rng: random.Random
    ) -> None:
        spec = definition["spec"]
        given = spec["conversion"].get("webhook") or {}
        self.storage = storage
        self._group = spec["group"]
        self._kind = spec["names"]["kind"]
        self._client = given.get("clientConfig") or {}
        self._reviews = given.get("conversionReviewVersions") or ()
        self._asking = asking
        self._rng = rng

    async def convert(self, documents: Sequence[Document], version: str) -> list[Document]:
        """The documents in another version, each the same object as before. Refusal."""
        wanted = f"{self._group}/{version}"
        asked = [document for document in documents if document["apiVersion"] != wanted]
        if not asked:
            return list(documents)
        try:
            answers = iter(await self._ask(asked, wanted))
        except callbacks.Failed as failure:
            what = f"{asked[0]['apiVersion']}, Kind={self._kind}"
            why = f"conversion webhook for {what} failed: {failure}"
            raise statuses.Refusal(500, "InternalError", why) from None
        return [one if one["apiVersion"] == wanted else next(answers) for one in documents]

    async def _ask(self, asked: list[Document], wanted: str) -> list[Document]:
        if "v1" not in self._reviews:
            raise callbacks.Failed(f"no supported ConversionReview version in {list(self._reviews)}")
        uid = objects.uid(self._rng)
        request = {"uid": uid, "desiredAPIVersion": wanted, "objects": asked}
        body = msgspec.json.encode({"kind": "ConversionReview", "apiVersion": _API, "request": request})
        response = _response(await self._asking.ask(self._client, body, _PATIENCE), uid)
        result = response.get("result") or {}
        if result.get("status") != "Success":
            raise callbacks.Failed(result.get("message") or "the webhook says why not: nothing")
        found = response.get("convertedObjects")
        if not isinstance(found, list) or len(found) != len(asked):
            count = len(found) if isinstance(found, list) else 0
            raise callbacks.Failed(f"webhook returned {count} objects, expected {len(asked)}")
        return [self._same(before, now, wanted) for before, now in zip(asked, found, strict=True)]

    def _same(self, before: Document, now: Any, wanted: str) -> Document:
        if not isinstance(now, dict) or not isinstance(now.get("metadata"), dict):
            raise callbacks.Failed("webhook returned something that is no object")
        if (now.get("apiVersion"), now.get("kind")) != (wanted, self._kind):
            shown = f"{now.get('apiVersion')} {now.get('kind')}"
            raise callbacks.Failed(f"webhook returned {shown}, expected {wanted} {self._kind}")
        about, old = now["metadata"], before["metadata"]
        for name in ("name", "namespace", "uid"):
            if about.get(name) != old.get(name):
                raise callbacks.Failed(f"webhook changed metadata.{name}")
        kept = {name: value for name, value in old.items() if name not in _CONVERTED}
        return {**now, "metadata": kept | {name: about[name] for name in _CONVERTED if about.get(name)}}


def _response(raw: bytes, uid: str) -> Document:
    try:
        review = msgspec.json.decode(raw)
        response: Document = review["response"]
        right = (review.get("apiVersion"), response.get("uid")) == (_API, uid)
    except (msgspec.DecodeError, RecursionError, KeyError, TypeError, AttributeError):
        raise callbacks.Failed("the answer is no ConversionReview") from None
    if not right:
        raise callbacks.Failed("the answer's apiVersion or response.uid is not the question's")
    return response
