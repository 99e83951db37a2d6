"""The rules of the specification (1.1.0) for a plugin, one case each. A case raises Unmet, or Inapplicable.

The codes demanded are those of section 5; where the specification only says "an error", any code will do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from netemu.base import errors
from netemu.kubelet.cni.conformance import adding, keeping, protocol, trials


class Case(NamedTuple):
    """`section` groups them in the table; `rule` is what the plugin must do."""

    section: str
    rule: str
    run: Callable[[trials.Trial], Awaitable[None]]


CASES = (
    Case("protocol", "VERSION prints the supported versions", protocol.version_reply),
    Case("protocol", "an unknown command is refused with code 4", protocol.unknown_command),
    Case("protocol", "missing CNI_ variables are refused with code 4", protocol.missing_parameters),
    Case("protocol", "a malformed container id is refused with code 4", protocol.bad_container_id),
    Case("protocol", "an impossible interface name is refused with code 4", protocol.bad_ifname),
    Case("protocol", "what is not a JSON object is refused with code 6", protocol.not_json),
    Case("protocol", "an unknown cniVersion is refused with code 1", protocol.unknown_version),
    Case("protocol", "a malformed network name is refused with code 7", protocol.bad_name),
    Case("protocol", "its own namespace is refused with code 8", protocol.own_namespace),
    Case("ADD", "succeeds", adding.succeeds),
    Case("ADD", "keys it does not know are ignored", protocol.unknown_keys),
    Case(
        "ADD",
        "the result has the configuration's cniVersion, in each",
        adding.result_of_every_version,
    ),
    Case("ADD", "what the result says is there: link, MAC, addresses, routes", adding.result_is_true),
    Case("ADD", "prevResult is passed on", adding.passes_result_on),
    Case("ADD", "a missing prevResult is refused", adding.without_prev_result),
    Case("ADD", "a missing namespace is refused, and DEL leaves nothing", adding.missing_namespace),
    Case("ADD", "a used interface name is refused, and nothing is left", adding.used_name),
    Case("ADD", "the same attachment twice is refused, and the first one stays", adding.added_twice),
    Case("ADD", "an exhausted range is refused, and DEL gives all back", adding.exhausted),
    Case("ADD", f"{adding.AT_ONCE} at once all succeed, no address twice", adding.many_at_once),
    Case("CHECK", "succeeds straight after ADD", keeping.check_after_add),
    Case("CHECK", "fails when the link is gone", keeping.check_of_a_lost_link),
    Case("CHECK", "fails when an address is gone", keeping.check_of_a_lost_address),
    Case("CHECK", "a missing prevResult is refused", keeping.check_without_result),
    Case("DEL", "takes away all that ADD made, and prints nothing", keeping.del_undoes),
    Case("DEL", "succeeds twice", keeping.del_twice),
    Case("DEL", "succeeds for what was never added", keeping.del_of_nothing),
    Case(
        "DEL", "succeeds when the namespace is gone; addresses are given back", keeping.del_without_namespace
    ),
    Case("DEL", "succeeds without prevResult", keeping.del_without_result),
    Case("DEL", "cleans up behind an ADD that was killed", keeping.killed_in_the_middle),
    Case("GC", "keeps valid attachments and gives back the others", keeping.gc_gives_back),
    Case("GC", "succeeds when there is nothing to do", keeping.gc_without_stale),
    Case("STATUS", "succeeds, and prints nothing, when the plugin is ready", keeping.status_when_ready),
    Case(
        "STATUS",
        "both are refused with code 1 in a version without them",
        keeping.too_old_for_commands,
    ),
)


async def judge(case: Case, on: trials.Trial) -> tuple[str, str]:
    """The outcome of a case, "ok", "failed" or "n/a", and why."""
    try:
        await case.run(on)
    except trials.Inapplicable as reason:
        return "n/a", str(reason)
    except trials.NotAttached as reason:
        if on.useless:
            return "n/a", "ADD does not succeed"
        on.useless = case.run is adding.succeeds
        return "failed", str(reason)
    except (trials.Unmet, errors.NetemuError) as reason:
        return "failed", str(reason)
    return "ok", ""
