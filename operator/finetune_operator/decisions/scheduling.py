"""Why the scheduler finds no node, told by what its message counts."""

import re

from finetune_operator.decisions.explanations import Problem
from finetune_operator.decisions.objects import name_of
from finetune_operator.decisions.observed import Object
from finetune_operator.decisions.pods import requests_of
from finetune_operator.decisions.texts import next_step

UNSCHEDULABLE = "Unschedulable"
SCHEDULING_GATED = "SchedulingGated"

# What the scheduler says of nodes -> who does what about it.
_NEXT_STEPS = (
    (r"no nodes available to schedule pods|^0/0 nodes", "", "add a node"),
    (r"Insufficient|Too many pods",
     "wait until others end, or ask for less in spec.runtime", "add a node that has as much"),
    (r"untolerated taint \{node\.kubernetes\.io/(?:unreachable|not-ready)", "", "bring the nodes back"),
    (r"untolerated taint(?! \{node\.kubernetes\.io/(?:unreachable|not-ready))",
     "tolerate it in spec.runtime.pod.tolerations (`kubectl describe node` shows it)",
     "take it off a node"),
    (r"affinity/selector",
     "correct spec.runtime.pod.nodeSelector and affinity", "or label a node accordingly"),
    (r"pod (?:anti-)?affinity|anti-affinity rules|topology spread",
     "relax spec.runtime.pod.affinity or topologySpreadConstraints", ""),
    (r"node\(s\) were unschedulable", "", "let a cordoned node take pods again (`kubectl uncordon`)"),
    (r"PersistentVolume's node affinity|volume node affinity|volume zone",
     "use a claim whose volume every node can reach", "or add a node where the volume is"),
    (r"persistent volumes to bind|enough free storage", "", "provide a volume that fits the claim"),
    (r"ReadWriteOncePod", "wait until the pod that uses the claim has ended, or use another claim", ""),
    (r"max volume count", "", "add a node: those there have as many volumes as they can attach"),
)  # fmt: skip


def unschedulable(pod: Object | None, text: str) -> Problem:
    """text: the scheduler's message, which counts the nodes by what is wrong with them."""
    text = re.split(r" no new claims to deallocate| preemption:", text)[0].strip()
    found = [(you, team) for pattern, you, team in _NEXT_STEPS if re.search(pattern, text)]
    yours = "; ".join(you for you, _ in found if you)
    theirs = "; ".join(team for _, team in found if team) or ("" if yours else "see the scheduler's log")
    message = f"No node can take {_described(pod, text)}: {text or 'the scheduler says no more'}"
    return Problem(UNSCHEDULABLE, message, next_step(you=yours, platform=theirs))


def scheduling_gated(pod: Object) -> Problem:
    """Somebody asked the scheduler to hold the pod back."""
    gates = ", ".join(str(gate.get("name")) for gate in (pod.get("spec") or {}).get("schedulingGates") or ())
    message = f"Pod {name_of(pod)} is held back by scheduling gates: {gates or 'of no name'}"
    step = next_step(platform="see the controller that set the gate")
    return Problem(SCHEDULING_GATED, message, step)


def _described(pod: Object | None, text: str) -> str:
    """The pod, and how much it asks for of what is short."""
    if pod is None:
        return "the run's pod"
    short = re.findall(r"Insufficient ([^\s,]+?)(?=[,.]?(?:\s|,|$))", text)
    asked = requests_of(pod)
    told = [f"{resource}: {asked[resource]}" for resource in dict.fromkeys(short) if resource in asked]
    return f"pod {name_of(pod)}" + (f", which asks for {', '.join(told)}" if told else "")
