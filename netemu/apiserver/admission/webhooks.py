"""Asking admission webhooks: in order and with patches, or all at once.

Which webhook wants what, `hooks` knows; how they are reached, `callbacks`. A failure is a refusal unless the
webhook's failurePolicy is Ignore.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import dataclasses
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from netemu.api import admission, core, defaults, kinds, schema
from netemu.apiserver import cache, callbacks, catalogs, objects, statuses
from netemu.apiserver.admission import hooks
from netemu.base import errors
from netemu.wire import patches

_log = logging.getLogger("apiserver")
_MUTATING, _VALIDATING = "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"
_HARMLESS = ("None", "NoneOnDryRun")
_KEPT = ("name", "namespace", "uid", "creationTimestamp", "resourceVersion", "generation")
_NAMESPACE = kinds.of(core.Namespace)
Again = Callable[[statuses.Document], Awaitable[statuses.Document]]


class Webhooks:
    """The webhooks that are configured, and connections to them."""

    def __init__(
        self, caches: cache.Cache, catalog: catalogs.Catalog, asking: callbacks.Callbacks, rng: Any
    ) -> None:
        self._caches = caches
        self._catalog = catalog
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
        return bool(self._known.get(_MUTATING))

    @property
    def validating(self) -> bool:
        """Whether there is any validating webhook."""
        return bool(self._known.get(_VALIDATING))

    @property
    def any(self) -> bool:
        """Whether there is any webhook."""
        return self.mutating or self.validating

    async def mutate(
        self, event: hooks.Event, again: Again | None = None
    ) -> tuple[statuses.Document, tuple[str, ...]]:
        """The new object as the webhooks want it, and warnings. They are asked in the order of their
        configurations' names. What they changed goes through the server's own rules (`again`), and those who
        wish so are asked once more if it is not as they left it. Refusal."""
        assert event.new is not None
        document, warnings, left = event.new, list[str](), dict[hooks.Hook, bytes]()
        for second in (False, True):
            for hook in self._configured(_MUTATING):
                if second and (not hook.again or left.get(hook) == msgspec.json.encode(document)):
                    continue
                form = self._form(hook, now := dataclasses.replace(event, new=document))
                if form is None:
                    continue
                patched, said = await self._one(hook, now, form)
                warnings += said
                document = document if patched is None else patched
                left[hook] = msgspec.json.encode(document)
            if document == event.new:
                break
            if not second and again is not None:
                document = await again(document)
        return document, tuple(warnings)

    async def validate(self, event: hooks.Event) -> tuple[str, ...]:
        """Warnings. Refusal when any of the validating webhooks refuses."""
        forms = ((hook, self._form(hook, event)) for hook in self._configured(_VALIDATING))
        asked = [self._one(hook, event, form) for hook, form in forms if form is not None]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return tuple(text for answer in answers if isinstance(answer, tuple) for text in answer[1])

    async def refuse(self, event: hooks.Event) -> tuple[str, ...]:
        """Ask both kinds about what cannot be altered; warnings. Refusal."""
        warnings: tuple[str, ...] = ()
        for hook in self._configured(_MUTATING):
            form = self._form(hook, event)
            if form is not None:
                warnings += (await self._one(hook, event, form))[1]
        return warnings + await self.validate(event)

    def _configured(self, which: str) -> list[hooks.Hook]:
        known = self._known.get(which, {})
        return [hook for name in sorted(known) for hook in known[name]]

    def _form(self, hook: hooks.Hook, event: hooks.Event) -> kinds.Kind | None:
        """The kind as which the webhook wants to see the object; None: it does not."""
        equivalents = () if event.shape else self._catalog.equivalents(event.kind)
        return hooks.wants(hook, event, self._namespace_labels(event), equivalents)

    def _namespace_labels(self, event: hooks.Event) -> dict[str, str]:
        if event.kind is _NAMESPACE:
            return hooks.labels(event.new or event.old or {"metadata": {}})
        found = self._caches.of(_NAMESPACE).get("", event.namespace)
        return found.labels if found else {}

    async def _one(
        self, hook: hooks.Hook, event: hooks.Event, form: kinds.Kind
    ) -> tuple[statuses.Document | None, tuple[str, ...]]:
        """The patched object, if the answer has a patch, and warnings. Refusal."""
        if event.dry and hook.side_effects not in _HARMLESS:
            raise statuses.bad_request(f'admission webhook "{hook.name}" does not support dry run')
        try:
            shown = await self._as(event, form)
            answer = await self._ask(hook, shown, event.kind)
            if answer is None:
                return None, ()
            if not answer.get("allowed"):
                raise _denied(hook, answer.get("status") or {})
            warnings = tuple(str(text) for text in answer.get("warnings") or ())
            if not answer.get("patch") or not event.new or event.operation == "CONNECT":
                return None, warnings
            patched = _patched(shown, answer)
            if form is not event.kind:
                patched = await self._caches.of(form).across(patched, event.kind)
            return patched, warnings
        except callbacks.Failed as failure:
            _log.warning("webhook failed name=%s error=%s", hook.name, failure)
            if hook.lenient:
                return None, ()
            raise statuses.internal(f'failed calling webhook "{hook.name}": {failure}') from None

    async def _as(self, event: hooks.Event, form: kinds.Kind) -> hooks.Event:
        """The event with its objects in another form of theirs (matchPolicy Equivalent)."""
        if form is event.kind:
            return event
        own = self._caches.of(event.kind)
        new, old = [None if one is None else await own.across(one, form) for one in (event.new, event.old)]
        return dataclasses.replace(event, kind=form, new=new, old=old)

    async def _ask(self, hook: hooks.Hook, event: hooks.Event, asked: kinds.Kind) -> Any:
        """The answer; None when its matchConditions do not want it asked."""
        uid = objects.uid(self._rng)
        review = hooks.question(event, uid, asked)
        try:
            if hook.conditions and not hooks.meets(hook, review):
                return None
        except errors.Rejected as error:
            raise callbacks.Failed(f"matchConditions cannot be evaluated: {error.message}") from None
        if "v1" not in hook.versions:
            raise callbacks.Failed(
                f"webhook does not accept known AdmissionReview versions (v1): {hook.versions}"
            )
        body = msgspec.json.encode(review)
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


def _response(raw: bytes, uid: str) -> Any:
    try:
        answer = msgspec.json.decode(raw)
        response = answer["response"]
        right = answer.get("apiVersion") == "admission.k8s.io/v1" and response.get("uid") == uid
    except (msgspec.DecodeError, RecursionError, KeyError, TypeError, AttributeError):
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
        max(code, 400),
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
    kind = event.shape or event.kind
    wrong = schema.problems(kind, document) if isinstance(document, dict) else ()
    if wrong or not isinstance(document, dict) or not isinstance(document.get("metadata", {}), dict):
        why = wrong[0].message if wrong else "no metadata"
        raise callbacks.Failed(f"the patched object is not valid: {why}")
    assert event.new is not None
    before = event.new.get("metadata") or {}
    document["metadata"] = {
        **(document.get("metadata") or {}),
        **{key: before[key] for key in _KEPT if key in before},
    }
    return defaults.apply(kind, document)
