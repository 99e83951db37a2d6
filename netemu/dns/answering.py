"""From a query's bytes to a response's bytes: parsed, resolved, packed, remembered until something changes.

Knows no socket. What only other servers know comes as an awaitable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Iterator

import dnslib

from netemu.dns import cluster, forward, messages, resolve

MOST_REMEMBERED = 10_000
MOST_ORDERS = 8  # in how many orders the same addresses are given out

_SERVFAIL = resolve.Answer("SERVFAIL")


class Answers:
    """Answers for one cluster. Until `synced` is set every question fails: nobody knows what is missing."""

    def __init__(self, known: cluster.Cluster, upstreams: tuple[forward.Server, ...] = ()) -> None:
        self.synced = False
        self.counts: Counter[str] = Counter()
        self._known = known
        self._upstreams = upstreams
        self._remembered: dict[tuple[bytes, bool], Iterator[bytes]] = {}
        self._revision = known.revision

    def reply(self, data: bytes, *, tcp: bool = False) -> bytes | Awaitable[bytes] | None:
        """What to send back for one message; None: nothing."""
        if self._revision != self._known.revision:
            self._remembered.clear()
            self._revision = self._known.revision
        self.counts["requests"] += 1
        following = self._remembered.get((data[2:], tcp))
        if following is not None:
            self.counts["remembered"] += 1
            return data[:2] + next(following)
        try:
            query = messages.parse(data)
        except messages.Garbage as garbage:
            self.counts["garbage"] += 1
            return garbage.reply or None
        limit = messages.MOST if tcp else min(query.size, messages.OUR_SIZE)
        if not self.synced:
            return messages.pack(query, _SERVFAIL, limit)
        answer = resolve.resolve(self._known, query.name, query.kind)
        if answer is None:
            if not self._upstreams:
                return messages.pack(query, resolve.Answer("REFUSED"), limit, authoritative=False)
            return self._forwarded(data, query, limit)
        if answer.follow and self._upstreams:
            return self._followed(query, answer, limit)
        return self._remember(data, query, answer, limit, tcp=tcp)

    def _remember(
        self, data: bytes, query: messages.Query, answer: resolve.Answer, limit: int, *, tcp: bool
    ) -> bytes:
        responses = [messages.pack(query, order, limit) for order in orders(answer)]
        if len(self._remembered) >= MOST_REMEMBERED:
            self._remembered.clear()
        following = _round([response[2:] for response in responses])
        self._remembered[data[2:], tcp] = following
        return data[:2] + next(following)

    async def _forwarded(self, data: bytes, query: messages.Query, limit: int) -> bytes:
        self.counts["forwarded"] += 1
        response = await forward.ask(self._upstreams, data)
        if response is None:
            return messages.pack(query, _SERVFAIL, limit, authoritative=False)
        return response if len(response) <= limit else messages.shortened(response)

    async def _followed(self, query: messages.Query, answer: resolve.Answer, limit: int) -> bytes:
        """An alias and, from other servers, what it leads to."""
        question = dnslib.DNSRecord.question(answer.follow, query.kind)
        response = await forward.ask(self._upstreams, bytes(question.pack()))
        if response is None:
            return messages.pack(query, _SERVFAIL, limit)
        return messages.joined(query, answer, response, limit)


def orders(answer: resolve.Answer) -> Iterator[resolve.Answer]:
    """The answer with its addresses in turn first: most clients take the first one."""
    fixed = tuple(r for r in answer.answers if r.type == "CNAME")
    rest = answer.answers[len(fixed) :]
    turns = min(len(rest), MOST_ORDERS) if all(r.type in {"A", "AAAA"} for r in rest) else 1
    for first in range(max(1, turns)):
        yield answer._replace(answers=(*fixed, *rest[first:], *rest[:first]))


def _round(responses: list[bytes]) -> Iterator[bytes]:
    while True:
        yield from responses
