"""Where a pod may run, in the words of a pod's own spec.

Fields of list items have no defaults: the API server would write them into the stored object, and a GitOps
tool would take that for a difference.
"""

import re
from typing import Annotated, Literal

from pydantic import Field

from finetune_api.fields import ApiModel, Rule
from finetune_api.kube_names import LabelKey, LabelMap, LabelValue

_INTEGER = r"^[0-9]{1,18}$"

LabelValues = Annotated[list[LabelValue], Field(max_length=32)]
Weight = Annotated[int, Field(ge=1, le=100)]


class Toleration(ApiModel):
    """A taint of nodes that does not keep the pod away."""

    key: LabelKey | None = None
    """Of the taint. Absent: of every taint, with the operator Exists."""
    operator: Literal["Equal", "Exists"] | None = None
    """Exists ignores the taint's value. Absent: Equal."""
    value: LabelValue | None = None
    """Of the taint, for Equal."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Of the taint. Absent: every effect."""
    toleration_seconds: Annotated[int, Field(ge=0, le=604_800)] | None = None
    """How long a pod stays when a NoExecute taint comes. Absent: for ever."""
    rules = (
        Rule(
            "has(self.key) || (has(self.operator) && self.operator == 'Exists')",
            "a toleration without `key` must have the `operator` Exists",
            lambda t: t.key is not None or t.operator == "Exists",
        ),
        Rule(
            "!has(self.value) || !has(self.operator) || self.operator == 'Equal'",
            "`value` of a toleration must be left out with the `operator` Exists",
            lambda t: t.value is None or t.operator != "Exists",
        ),
        Rule(
            "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            "`tolerationSeconds` must be left out unless `effect` is NoExecute",
            lambda t: t.toleration_seconds is None or t.effect == "NoExecute",
        ),
    )


class NodeExpression(ApiModel):
    """A condition on one label of a node."""

    key: LabelKey
    """Of the node's label."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    """How the label is compared with `values`."""
    values: LabelValues | None = None
    """For In and NotIn; for Gt and Lt one integer."""
    rules = (
        Rule(
            "self.operator in ['Exists', 'DoesNotExist'] ? !has(self.values)"
            " : has(self.values) && (self.operator in ['In', 'NotIn'] ? self.values.size() > 0"
            f" : self.values.size() == 1 && self.values[0].matches('{_INTEGER}'))",
            "`values` must be given for In and NotIn, be one integer for Gt and Lt, and else be left out",
            lambda e: e.values_fit(),
        ),
    )

    def values_fit(self) -> bool:
        if self.operator in {"Exists", "DoesNotExist"} or self.values is None:
            return (self.values is None) == (self.operator in {"Exists", "DoesNotExist"})
        if self.operator in {"In", "NotIn"}:
            return bool(self.values)
        return len(self.values) == 1 and re.fullmatch(_INTEGER, self.values[0]) is not None


class NodeTerm(ApiModel):
    """Conditions on a node, all of which hold."""

    match_expressions: Annotated[list[NodeExpression], Field(min_length=1, max_length=16)]
    """On labels of the node."""


class PreferredNodeTerm(ApiModel):
    """Nodes that are better than others."""

    weight: Weight
    """What such a node has ahead of others, 1 to 100."""
    preference: NodeTerm
    """Which nodes."""


class NodeSelector(ApiModel):
    """Nodes that come into question."""

    node_selector_terms: Annotated[list[NodeTerm], Field(min_length=1, max_length=8)]
    """One of them holds."""


class NodeAffinity(ApiModel):
    """By labels of nodes."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    """Only there."""
    preferred_during_scheduling_ignored_during_execution: (
        Annotated[list[PreferredNodeTerm], Field(max_length=8)] | None
    ) = None
    """Rather there."""


class LabelExpression(ApiModel):
    """A condition on one label of pods."""

    key: LabelKey
    """Of the label."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How the label is compared with `values`."""
    values: LabelValues | None = None
    """For In and NotIn."""
    rules = (
        Rule(
            "has(self.values) ? self.operator in ['In', 'NotIn'] && self.values.size() > 0"
            " : self.operator in ['Exists', 'DoesNotExist']",
            "`values` must be given for In and NotIn, and be left out for Exists and DoesNotExist",
            lambda e: bool(e.values) if e.operator in {"In", "NotIn"} else e.values is None,
        ),
    )


class LabelSelector(ApiModel):
    """Pods by their labels; all conditions hold."""

    match_labels: LabelMap | None = None
    """Labels and their values."""
    match_expressions: Annotated[list[LabelExpression], Field(max_length=8)] | None = None
    """Other conditions on labels."""


class PodTerm(ApiModel):
    """Places that are near certain pods of this namespace."""

    label_selector: LabelSelector
    """Which pods."""
    topology_key: LabelKey
    """Label of nodes; nodes with the same value are one place."""


class PreferredPodTerm(ApiModel):
    """Places that are better than others."""

    weight: Weight
    """What such a place has ahead of others, 1 to 100."""
    pod_affinity_term: PodTerm
    """Which places."""


class PodAffinity(ApiModel):
    """By pods that run there."""

    required_during_scheduling_ignored_during_execution: (
        Annotated[list[PodTerm], Field(max_length=8)] | None
    ) = None
    """All of them hold."""
    preferred_during_scheduling_ignored_during_execution: (
        Annotated[list[PreferredPodTerm], Field(max_length=8)] | None
    ) = None
    """Rather so."""


class Affinity(ApiModel):
    """Nodes and neighbours to look for or to keep away from."""

    node_affinity: NodeAffinity | None = None
    """Nodes by their labels."""
    pod_affinity: PodAffinity | None = None
    """Near these pods."""
    pod_anti_affinity: PodAffinity | None = None
    """Away from these pods."""


class TopologySpread(ApiModel):
    """How evenly pods with certain labels lie over zones or nodes."""

    max_skew: Annotated[int, Field(ge=1, le=1000)]
    """Most pods that one place may have ahead of another."""
    topology_key: LabelKey
    """Label of nodes; nodes with the same value are one place."""
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"]
    """What to do when it cannot be."""
    label_selector: LabelSelector
    """Which pods of this namespace are counted."""


SPREADS_ARE_UNIQUE = Rule(
    "self.all(a, self.exists_one(b, a.topologyKey == b.topologyKey"
    " && a.whenUnsatisfiable == b.whenUnsatisfiable))",
    "every `topologySpreadConstraints` must have another `topologyKey` or another `whenUnsatisfiable`",
    lambda spreads: len({(s.topology_key, s.when_unsatisfiable) for s in spreads}) == len(spreads),
)
