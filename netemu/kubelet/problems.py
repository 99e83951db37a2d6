"""What of a pod could not be made, and when to try it again. Knows back-off; tells nobody, makes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from netemu.base import backoff
from netemu.kubelet import views

_PULLING = 2.0  # seconds for which ErrImagePull shows before it becomes ImagePullBackOff
_LIMITS = {"ErrImagePull": (10.0, 300.0), "": (0.5, 10.0)}  # first and last wait after a problem


class BackingOff(NamedTuple):
    """A container whose image could not be pulled waits for the next try; `said` is why."""

    name: str
    said: str


class Problems:
    """By container name; "" is the sandbox. `known` is what a view shows."""

    def __init__(self) -> None:
        self.known: dict[str, views.Problem] = {}
        self._retries: dict[str, backoff.Backoff] = {}
        self._soften_at: dict[str, float] = {}

    def remember(self, name: str, reason: str, message: str, now: float) -> None:
        """It is tried again after a wait that grows."""
        first, last = _LIMITS.get(reason, _LIMITS[""])
        wait = self._retries.setdefault(name, backoff.Backoff(first, limit=last)).next()
        self.known[name] = views.Problem(reason, message, now + wait)
        if reason == "ErrImagePull":
            self._soften_at[name] = now + _PULLING

    def show(self, name: str, reason: str, message: str) -> None:
        """Somebody else decides when it is tried again."""
        self.known[name] = views.Problem(reason, message, 0.0)

    def forgive(self, name: str) -> None:
        """It has been made."""
        for memory in (self.known, self._retries, self._soften_at):
            memory.pop(name, None)

    def soften(self, now: float, images: dict[str, str]) -> Iterator[BackingOff]:
        """ErrImagePull that has shown long enough becomes ImagePullBackOff. `images` by container name."""
        for name, when in tuple(self._soften_at.items()):
            if now < when:
                continue
            del self._soften_at[name]
            said = f'Back-off pulling image "{images[name]}"'
            problem = self.known[name]
            message = f"{said}: ErrImagePull: {problem.message}"
            self.known[name] = problem._replace(reason="ImagePullBackOff", message=message)
            yield BackingOff(name, said)

    def moments(self) -> Iterator[float]:
        """When `soften` has something to do."""
        return iter(self._soften_at.values())
