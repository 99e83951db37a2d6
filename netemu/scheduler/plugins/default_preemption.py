"""DefaultPreemption: makes no room yet; says, in upstream's words, what making room could have done."""

from collections import Counter
from collections.abc import Mapping

from netemu.scheduler import framework, messages, pods

_POINTLESS = "Preemption is not helpful for scheduling"
_NO_VICTIMS = "No preemption victims found for incoming pod"


class DefaultPreemption:
    name = "DefaultPreemption"

    def post_filter(
        self, pod: pods.PodInfo, rejections: Mapping[str, framework.Rejection], total: int
    ) -> str:
        if pod.pod.spec.preemptionPolicy == "Never":
            return "preemption: not eligible due to preemptionPolicy=Never."
        hopeful = sum(1 for rejection in rejections.values() if rejection.resolvable)
        reasons = Counter({_NO_VICTIMS: hopeful, _POINTLESS: total - hopeful})
        return f"preemption: {messages.unavailable(total, +reasons)}"
