"""Hundreds of questions at once, from inside many namespaces, under one deadline.

Knows sockets, errno and time; not what ought to be reachable. All dropped packets together cost one deadline.
"""

import asyncio
import errno
import ipaddress
import os
import resource
import socket
from collections.abc import Sequence

from netemu.probe import flows, identify, names, questions, resolve, sockets
from netemu.probe.questions import Outcome

DEADLINE = 2.0
_AT_A_TIME = 24
_SLOW = 0.025  # seconds after which a question makes room
_SPARE_FILES = 128
_FILES_EACH = 2


async def ask(
    asked: Sequence[questions.Question], *, deadline: float = DEADLINE
) -> tuple[questions.Answer, ...]:
    """Put all questions; answers come in their order. A question is given up after `deadline` seconds.

    So many at a time that the times are those of the network and not of a queue; one that is slow makes room
    for the next, so that a thousand dropped ones take hardly longer than one.
    """
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    size = max(1, (min(limit, 65536) - _SPARE_FILES) // _FILES_EACH)
    turns = asyncio.Semaphore(_AT_A_TIME)
    answers: list[questions.Answer] = []
    for start in range(0, len(asked), size):
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(_in_turn(question, turns, deadline))
                for question in asked[start : start + size]
            ]
        answers.extend(task.result() for task in tasks)
    return tuple(answers)


async def _in_turn(
    question: questions.Question, turns: asyncio.Semaphore, deadline: float
) -> questions.Answer:
    async with asyncio.TaskGroup() as group:
        async with turns:
            task = group.create_task(_ask_one(question, deadline))
            await asyncio.wait([task], timeout=_SLOW)
    return task.result()


async def _ask_one(question: questions.Question, deadline: float) -> questions.Answer:
    loop = asyncio.get_running_loop()
    began = loop.time()
    known = questions.Answer(Outcome.TIMEOUT)
    try:
        async with asyncio.timeout_at(began + deadline):
            known = await _address(question, known, patience=deadline / 4)
            if known.outcome is not Outcome.OK:
                return known._replace(total_s=loop.time() - began)
            known = known._replace(resolve_s=loop.time() - began)
            return await _converse(question, known, began, deadline)
    except TimeoutError:
        unresolved = not known.address
        return known._replace(
            outcome=Outcome.DNS_FAILURE if unresolved else Outcome.TIMEOUT,
            total_s=loop.time() - began,
            detail=_no_answer(question) if unresolved else f"no answer within {deadline:g} s",
        )
    except OSError as error:
        return _failed(known, error, loop.time() - began)


async def _address(
    question: questions.Question, known: questions.Answer, *, patience: float
) -> questions.Answer:
    if names.is_literal(question.host):
        return known._replace(outcome=Outcome.OK, address=str(ipaddress.ip_address(question.host)))
    found = await resolve.resolve(question.source, question.host, question.family, patience=patience)
    if not found.addresses:
        return known._replace(outcome=Outcome.DNS_FAILURE, name=found.name, detail=found.detail)
    return known._replace(outcome=Outcome.OK, address=found.addresses[0], name=found.name)


async def _converse(
    question: questions.Question, known: questions.Answer, began: float, deadline: float
) -> questions.Answer:
    loop = asyncio.get_running_loop()
    family = ipaddress.ip_address(known.address).version
    kind = socket.SOCK_DGRAM if question.protocol == "UDP" else socket.SOCK_STREAM
    with sockets.closing(sockets.open_in(question.source.netns, [sockets.Want(family, kind)])) as (sock,):
        await loop.sock_connect(sock, (known.address, question.port))
        known = known._replace(local=str(ipaddress.ip_address(sock.getsockname()[0].partition("%")[0])))
        if question.protocol == "UDP":
            said = await identify.over_udp(sock, deadline / 4)
        elif question.identify:
            said = await _identify(sock, question.host, began + 0.9 * deadline)
        else:
            said = identify.Identity()
    return known._replace(
        outcome=Outcome.OK,
        endpoint=said.endpoint,
        seen=said.seen,
        detail=said.detail,
        total_s=loop.time() - began,
    )


async def _identify(sock: socket.socket, host: str, until: float) -> identify.Identity:
    """Who answers on a connection; a server that waits for another protocol's words is reached, too."""
    try:
        async with asyncio.timeout_at(until):
            return await identify.over_tcp(sock, host)
    except TimeoutError:
        return identify.Identity(detail="connected, but nobody speaks HTTP there")


def _failed(known: questions.Answer, error: OSError, seconds: float) -> questions.Answer:
    gone = error.errno in (errno.ENOENT, errno.EINVAL, errno.ESRCH) and not known.local
    outcome = Outcome.NO_SOURCE if gone else flows.OUTCOMES.get(error.errno or 0)
    if outcome is None:
        raise error
    if not known.address and outcome is not Outcome.NO_SOURCE:
        outcome = Outcome.DNS_FAILURE
    # asyncio puts its own words where the kernel's were.
    detail = os.strerror(error.errno) if error.errno else str(error)
    return known._replace(outcome=outcome, total_s=seconds, detail=detail)


def _no_answer(question: questions.Question) -> str:
    servers = ", ".join(names.parse(question.source.resolv_conf).nameservers) or "nobody"
    return f"no answer for {question.host} from {servers}"
