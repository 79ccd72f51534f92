"""Random `spec.runtime`s that the models accept, over the whole of what may be said about a pod."""

from typing import Any

from hypothesis import strategies as st

from finetune_api.pod_settings import is_reserved_key
from finetune_api.pod_variables import is_reserved_variable

ACCOUNTS, PRIORITIES, CLASSES = ("models-reader",), ("research",), ("sandbox",)
"""Names that must be there for a pod to be admitted."""

Json = dict[str, Any]


def _maybe(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    return st.fixed_dictionaries({}, optional=fields)


def _all(required: dict[str, st.SearchStrategy[Any]], **fields: st.SearchStrategy[Any]) -> Any:
    return st.fixed_dictionaries(required, optional=fields)


dns = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?(\.[a-z0-9]{1,5})?", fullmatch=True)
words = st.from_regex(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,30}[A-Za-z0-9])?", fullmatch=True)
label_keys = st.one_of(words, st.builds("{}/{}".format, dns, words))
label_values = st.one_of(st.just(""), words)
free_keys = label_keys.filter(lambda key: not is_reserved_key(key))
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
data_keys = st.from_regex(r"[-_a-zA-Z0-9][-._a-zA-Z0-9]{0,20}", fullmatch=True)
quantities = st.one_of(st.integers(1, 2**40), st.sampled_from(["500Mi", "1.5Gi", "100m", "2k"]))


def _labels(keys: st.SearchStrategy[str] = label_keys) -> st.SearchStrategy[dict[str, str]]:
    return st.dictionaries(keys, label_values, max_size=4)


tolerations = st.one_of(
    _all({"key": label_keys}, value=label_values, effect=st.sampled_from(["NoSchedule", "PreferNoSchedule"])),
    _all({"operator": st.just("Exists")}, key=label_keys),
    _all(
        {"key": label_keys, "effect": st.just("NoExecute")}, tolerationSeconds=st.integers(0, 9999),
        operator=st.sampled_from(["Exists", "Equal"]),
    ),
)  # fmt: skip

some_values = st.lists(label_values, min_size=1, max_size=3)
numbers = st.lists(st.integers(0, 10**17).map(str), min_size=1, max_size=1)


def _expressions(with_numbers: bool) -> st.SearchStrategy[Json]:
    forms = [
        _all({"key": label_keys, "operator": st.sampled_from(["In", "NotIn"]), "values": some_values}),
        _all({"key": label_keys, "operator": st.sampled_from(["Exists", "DoesNotExist"])}),
    ]
    if with_numbers:
        forms.append(_all({"key": label_keys, "operator": st.sampled_from(["Gt", "Lt"]), "values": numbers}))
    return st.one_of(forms)


weights = st.integers(1, 100)
REQUIRED, PREFERRED = (f"{word}DuringSchedulingIgnoredDuringExecution" for word in ("required", "preferred"))
node_terms = _all({"matchExpressions": st.lists(_expressions(True), min_size=1, max_size=3)})
node_affinity = _maybe(
    **{
        REQUIRED: _all({"nodeSelectorTerms": st.lists(node_terms, min_size=1, max_size=2)}),
        PREFERRED: st.lists(_all({"weight": weights, "preference": node_terms}), max_size=2),
    }
)
selectors = _maybe(matchLabels=_labels(), matchExpressions=st.lists(_expressions(False), max_size=2))
pod_terms = _all({"labelSelector": selectors, "topologyKey": label_keys})
pod_affinity = _maybe(
    **{
        REQUIRED: st.lists(pod_terms, max_size=2),
        PREFERRED: st.lists(_all({"weight": weights, "podAffinityTerm": pod_terms}), max_size=2),
    }
)
spreads = st.lists(
    _all(
        {
            "maxSkew": st.integers(1, 9), "topologyKey": label_keys, "labelSelector": selectors,
            "whenUnsatisfiable": st.sampled_from(["DoNotSchedule", "ScheduleAnyway"]),
        }
    ),
    max_size=3, unique_by=lambda s: (s["topologyKey"], s["whenUnsatisfiable"]),
)  # fmt: skip

optional = st.booleans()
key_refs = _all({"name": dns, "key": data_keys}, optional=optional)
names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True)
free_names = names.filter(lambda name: not is_reserved_variable(name))
variables = st.lists(
    st.one_of(
        _all({"name": free_names, "value": texts}),
        _all({"name": free_names, "valueFrom": _all({"secretKeyRef": key_refs})}),
        _all({"name": free_names, "valueFrom": _all({"configMapKeyRef": key_refs})}),
    ),
    max_size=4, unique_by=lambda v: v["name"],
)  # fmt: skip

files = st.from_regex(r"[-A-Za-z0-9_][-A-Za-z0-9_.]{0,20}", fullmatch=True)
relative_paths = st.lists(files, min_size=1, max_size=3).map("/".join)
key_files = st.lists(_all({"key": data_keys, "path": relative_paths}), max_size=2)
config_maps = _all({"name": dns}, items=key_files, optional=optional)
sources = st.one_of(_all({"configMap": config_maps}), _all({"secret": config_maps}))
claim_specs = _all(
    {
        "accessModes": st.sampled_from([["ReadWriteOnce"], ["ReadWriteOncePod"]]),
        "resources": _all({"requests": _all({"storage": quantities})}),
    },
    storageClassName=dns,
)
sizes = st.one_of(st.integers(0, 2**40), st.sampled_from(["500Mi", "1.5Gi"]))
volume_types = st.one_of(
    _all({"emptyDir": _maybe(medium=st.just("Memory"), sizeLimit=sizes)}),
    _all({"persistentVolumeClaim": _all({"claimName": dns})}),
    _all({"configMap": config_maps}),
    _all({"secret": _all({"secretName": dns}, items=key_files, optional=optional)}),
    _all({"projected": _all({"sources": st.lists(sources, min_size=1, max_size=3)})}),
    _all({"ephemeral": _all({"volumeClaimTemplate": _all({"spec": claim_specs})})}),
)
paths = relative_paths.map("/mnt/{}".format)
volumes = st.lists(
    st.builds(
        lambda type_, rest: {**type_, **rest},
        volume_types,
        _all(
            {"name": st.from_regex(r"[a-z]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True), "mountPath": paths},
            readOnly=optional,
        ),
    ),
    max_size=4,
    unique_by=(lambda v: v["name"], lambda v: v["mountPath"]),
)

pods = _maybe(
    nodeSelector=_labels(),
    tolerations=st.lists(tolerations, max_size=3),
    affinity=_maybe(nodeAffinity=node_affinity, podAffinity=pod_affinity, podAntiAffinity=pod_affinity),
    topologySpreadConstraints=spreads,
    priorityClassName=st.sampled_from(PRIORITIES),
    runtimeClassName=st.sampled_from(CLASSES),
    imagePullSecrets=st.lists(_all({"name": dns}), max_size=2),
    env=variables,
    volumes=volumes,
    labels=_labels(free_keys),
    annotations=st.dictionaries(free_keys, texts, max_size=3),
)
amounts = _maybe(cpu=quantities, memory=quantities)
runtimes = _maybe(
    pod=pods,
    gpusPerNode=st.integers(0, 1),
    gpuResourceName=st.sampled_from(["nvidia.com/gpu", "nvidia.com/mig-1g.10gb", "amd.com/gpu"]),
    serviceAccountName=st.sampled_from(ACCOUNTS),
    resources=_maybe(limits=amounts),
    cache=_all({"claim": dns}),
    checkpoints=_all({"claim": dns}),
    queueName=dns,
    terminationGracePeriodSeconds=st.integers(0, 3600),
)
