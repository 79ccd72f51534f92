"""The conditions of a finetune, as kstatus, Argo CD and `kubectl wait` read them.

    state                                Reconciling  Stalled  Ready
    queued, starting, running, retrying  True         absent   Unknown
    suspended by spec.suspend            absent       absent   Unknown
    published, or nothing to publish to  absent       absent   True
    gate not passed, failed, impossible  absent       True     False

Reconciling, Stalled and Suspended are there only while they are true, and one of them at most. GatePassed and
Published are for people.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from finetune_api.status import Condition
from finetune_operator.decisions.objects import format_time
from finetune_operator.decisions.texts import clip, without_credentials

ConditionType = Literal["Reconciling", "Stalled", "Suspended", "Ready", "GatePassed", "Published"]
ConditionStatus = Literal["True", "False", "Unknown"]

MAX_MESSAGE = 2048
SUSPENDED = "Suspended"
TYPES: tuple[ConditionType, ...] = get_args(ConditionType)
"""In the order in which a status has them."""


@dataclass(frozen=True)
class Stamp:
    """What every condition says beside its words: for which generation, and since when."""

    generation: int
    now: datetime


@dataclass(frozen=True)
class Verdict:
    """One condition to be."""

    type: ConditionType
    status: ConditionStatus
    reason: str
    message: str


def set_condition(conditions: Sequence[Condition], verdict: Verdict, stamp: Stamp) -> list[Condition]:
    """A new list with this condition in its place; its transition time moves only when its status flips."""
    before = find(conditions, verdict.type)
    flipped = before is None or before.status != verdict.status
    condition = Condition(
        type=verdict.type,
        status=verdict.status,
        reason=verdict.reason,
        message=clip(without_credentials(verdict.message), MAX_MESSAGE),
        last_transition_time=format_time(stamp.now)
        if before is None or flipped
        else before.last_transition_time,
        observed_generation=stamp.generation,
    )
    others = [c for c in conditions if c.type != verdict.type]
    return sorted([*others, condition], key=_position)


def _position(condition: Condition) -> int:
    """The order is fixed, because kstatus takes the first hit in the list; strangers go last."""
    return TYPES.index(condition.type) if condition.type in TYPES else len(TYPES)


def find(conditions: Sequence[Condition], type_: ConditionType) -> Condition | None:
    return next((c for c in conditions if c.type == type_), None)


def progressing(conditions: Sequence[Condition], reason: str, message: str, stamp: Stamp) -> list[Condition]:
    """The finetune is on its way: Reconciling, and not known to be Ready."""
    conditions = _without(conditions, "Stalled", "Suspended")
    conditions = set_condition(conditions, Verdict("Reconciling", "True", reason, message), stamp)
    return set_condition(conditions, Verdict("Ready", "Unknown", reason, message), stamp)


def ready(conditions: Sequence[Condition], reason: str, message: str, stamp: Stamp) -> list[Condition]:
    """Everything that was asked for is done."""
    conditions = _without(conditions, "Reconciling", "Stalled", "Suspended")
    return set_condition(conditions, Verdict("Ready", "True", reason, message), stamp)


def stalled(conditions: Sequence[Condition], reason: str, message: str, stamp: Stamp) -> list[Condition]:
    """Nothing more happens until somebody changes something."""
    conditions = _without(conditions, "Reconciling", "Suspended")
    conditions = set_condition(conditions, Verdict("Stalled", "True", reason, message), stamp)
    return set_condition(conditions, Verdict("Ready", "False", reason, message), stamp)


def suspended(conditions: Sequence[Condition], message: str, stamp: Stamp) -> list[Condition]:
    """Nothing more happens until the user lets it go on."""
    conditions = _without(conditions, "Reconciling", "Stalled")
    conditions = set_condition(conditions, Verdict("Suspended", "True", SUSPENDED, message), stamp)
    return set_condition(conditions, Verdict("Ready", "Unknown", SUSPENDED, message), stamp)


def _without(conditions: Sequence[Condition], *types: ConditionType) -> list[Condition]:
    return [c for c in conditions if c.type not in types]
