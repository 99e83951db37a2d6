"""Asking admission webhooks: in order and with patches, or all at once.

Which webhook wants what, `hooks` knows; how they are reached, `callbacks`. A failure is a refusal unless the
webhook's failurePolicy is Ignore.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from typing import Any

import msgspec

from netemu.api import admission, core, defaults, kinds, schema
from netemu.apiserver import cache, callbacks, objects, statuses
from netemu.apiserver.admission import hooks
from netemu.base import errors
from netemu.wire import patches

_log = logging.getLogger("apiserver")
_HARMLESS = ("None", "NoneOnDryRun")
_KEPT = ("name", "namespace", "uid", "creationTimestamp", "resourceVersion", "generation")
_NAMESPACE = kinds.of(core.Namespace)


class Webhooks:
    """The webhooks that are configured, and connections to them."""

    def __init__(self, caches: cache.Cache, asking: callbacks.Callbacks, rng: Any) -> None:
        self._caches = caches
        self._callbacks = asking
        self._rng = rng
        self._known: dict[str, dict[str, tuple[hooks.Hook, ...]]] = {}
        for type_ in (admission.MutatingWebhookConfiguration, admission.ValidatingWebhookConfiguration):
            collection = caches.of(kinds.of(type_))
            for entry in collection.all():
                self._take(entry.document())
            collection.listen(self._receive)

    @property
    def mutating(self) -> bool:
        """Whether there is any mutating webhook."""
        return bool(self._known.get("MutatingWebhookConfiguration"))

    @property
    def validating(self) -> bool:
        """Whether there is any validating webhook."""
        return bool(self._known.get("ValidatingWebhookConfiguration"))

    async def mutate(self, event: hooks.Event) -> tuple[statuses.Document, tuple[str, ...]]:
        """The new object as the webhooks want it, and warnings. They are asked in the order of their
        configurations' names, and those that wish so once more when a later one changed it. Refusal."""
        assert event.new is not None
        document, warnings = event.new, list[str]()
        last: hooks.Hook | None = None
        for hook in self._wanting("MutatingWebhookConfiguration", event):
            patched, said = await self._one(hook, _with(event, document))
            warnings += said
            if patched is not None and patched != document:
                document = patched
                last = hook
        for hook in self._wanting("MutatingWebhookConfiguration", event):
            if last is None or hook is last:
                break
            if hook.again:
                patched, said = await self._one(hook, _with(event, document))
                warnings += said
                document = document if patched is None else patched
        return document, tuple(warnings)

    async def validate(self, event: hooks.Event) -> tuple[str, ...]:
        """Warnings. Refusal when any of the validating webhooks refuses."""
        asked = self._wanting("ValidatingWebhookConfiguration", event)
        answers = await asyncio.gather(*(self._one(hook, event) for hook in asked), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return tuple(text for answer in answers if isinstance(answer, tuple) for text in answer[1])

    async def refuse(self, event: hooks.Event) -> None:
        """Ask both kinds about a deletion, which cannot be altered. Refusal."""
        for hook in self._wanting("MutatingWebhookConfiguration", event):
            await self._one(hook, event)
        await self.validate(event)

    def _wanting(self, which: str, event: hooks.Event) -> list[hooks.Hook]:
        known = self._known.get(which, {})
        labels = self._namespace_labels(event)
        return [hook for name in sorted(known) for hook in known[name] if hooks.wants(hook, event, labels)]

    def _namespace_labels(self, event: hooks.Event) -> dict[str, str]:
        if event.kind is _NAMESPACE:
            return hooks.labels(event.new or event.old or {"metadata": {}})
        found = self._caches.of(_NAMESPACE).get("", event.namespace)
        return found.labels if found else {}

    async def _one(
        self, hook: hooks.Hook, event: hooks.Event
    ) -> tuple[statuses.Document | None, tuple[str, ...]]:
        """The patched object, if the answer has a patch, and warnings. Refusal."""
        if event.dry and hook.side_effects not in _HARMLESS:
            raise statuses.bad_request(f'admission webhook "{hook.name}" does not support dry run')
        try:
            answer = await self._ask(hook, event)
            if not answer.get("allowed"):
                raise _denied(hook, answer.get("status") or {})
            warnings = tuple(str(text) for text in answer.get("warnings") or ())
            return (_patched(event, answer) if answer.get("patch") and event.new else None), warnings
        except callbacks.Failed as failure:
            _log.warning("webhook failed name=%s error=%s", hook.name, failure)
            if hook.lenient:
                return None, ()
            raise statuses.internal(f'failed calling webhook "{hook.name}": {failure}') from None

    async def _ask(self, hook: hooks.Hook, event: hooks.Event) -> Any:
        if hook.conditional:
            raise callbacks.Failed("matchConditions (CEL) cannot be evaluated here")
        if "v1" not in hook.versions:
            raise callbacks.Failed(
                f"webhook does not accept known AdmissionReview versions (v1): {hook.versions}"
            )
        uid = objects.uid(self._rng)
        body = msgspec.json.encode(hooks.question(event, uid))
        return _response(await self._callbacks.ask(hook.client, body, hook.timeout, told=True), uid)

    def _receive(self, event: cache.Event) -> None:
        document = event.entry.document()
        if event.type == "DELETED":
            self._known.get(document["kind"], {}).pop(event.entry.name, None)
        else:
            self._take(document)

    def _take(self, document: statuses.Document) -> None:
        found = tuple(hooks.read(document))
        self._known.setdefault(document["kind"], {})[document["metadata"]["name"]] = found


def _with(event: hooks.Event, document: statuses.Document) -> hooks.Event:
    return hooks.Event(**{**vars(event), "new": document})


def _response(raw: bytes, uid: str) -> Any:
    try:
        answer = msgspec.json.decode(raw)
        response = answer["response"]
        right = answer.get("apiVersion") == "admission.k8s.io/v1" and response.get("uid") == uid
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        raise callbacks.Failed("the answer is no AdmissionReview") from None
    if not right:
        raise callbacks.Failed("the answer's apiVersion or response.uid is not the question's")
    return response


def _denied(hook: hooks.Hook, said: statuses.Document) -> statuses.Refusal:
    """Upstream's ToStatusErr (k8s.io/apiserver pkg/admission/plugin/webhook/errors)."""
    why = said.get("message") or said.get("reason")
    denied = f'admission webhook "{hook.name}" denied the request'
    code = said.get("code") or 0
    return statuses.Refusal(
        code if code >= 400 else 400,
        said.get("reason") or "",
        f"{denied}: {why}" if why else f"{denied} without explanation",
        details=said.get("details"),
    )


def _patched(event: hooks.Event, answer: statuses.Document) -> statuses.Document:
    if answer.get("patchType") != "JSONPatch":
        raise callbacks.Failed(f"unsupported patch type {answer.get('patchType')!r}")
    try:
        operations = msgspec.json.decode(base64.b64decode(answer["patch"]))
        document = patches.json_patch(event.new, operations)
    except (binascii.Error, msgspec.DecodeError, errors.Rejected) as error:
        raise callbacks.Failed(f"the patch cannot be applied: {error}") from None
    wrong = schema.problems(event.kind, document) if isinstance(document, dict) else ()
    if wrong or not isinstance(document.get("metadata"), dict):
        raise callbacks.Failed(
            f"the patched object is not valid: {wrong[0].message if wrong else 'no metadata'}"
        )
    assert event.new is not None
    before = event.new["metadata"]
    document["metadata"] |= {key: before[key] for key in _KEPT if key in before}
    return defaults.apply(event.kind, document)
