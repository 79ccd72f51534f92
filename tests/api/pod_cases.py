"""What a finetune may and may not say about its pod; `cases` has them among its own."""

from typing import Any

Changes = dict[str, Any]


def _pod(**settings: Any) -> Changes:
    return {"runtime": {"pod": settings}}


def _volume(**parts: Any) -> Changes:
    return _pod(volumes=[{"name": "extra", "mountPath": "/mnt/extra", **parts}])


def _node(**expression: Any) -> Changes:
    required = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    return _pod(affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}})


def _near(**expression: Any) -> Changes:
    term = {"labelSelector": {"matchExpressions": [expression]}, "topologyKey": "zone"}
    return _pod(affinity={"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}})


SPREAD = {
    "maxSkew": 1,
    "topologyKey": "topology.kubernetes.io/zone",
    "whenUnsatisfiable": "ScheduleAnyway",
    "labelSelector": {"matchLabels": {"team": "search"}},
}
RESERVED = (
    "no key must be one that Kubernetes, Kueue, a container runtime or a GitOps tool acts on:"
    " SECURITY.md lists them"
)
KEPT = "a variable's `name` must not be one that the operator keeps: SECURITY.md lists them"
NOT_A_KEY = "every key must read `name` or `domain/name`, as the keys of labels do"
ONE_TYPE = (
    "a volume must have exactly one of `emptyDir`, `persistentVolumeClaim`, `configMap`, `secret`,"
    " `projected`, `ephemeral`"
)

RESERVED_KEYS = (
    "embeddings.dev/finetune",
    "more.embeddings.dev/run",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "batch.kubernetes.io/job-name",
    "kueue.x-k8s.io/queue-name",
    "kueue.x-k8s.io/pod-group-name",
    "config.k8s.io/owning-inventory",
    "argocd.argoproj.io/tracking-id",
    "kustomize.toolkit.fluxcd.io/name",
    "helm.sh/chart",
    "meta.helm.sh/release-name",
    "kapp.k14s.io/app",
    "objectset.rio.cattle.io/hash",
    "k8s.v1.cni.cncf.io/networks",
    "container.apparmor.security.beta.kubernetes.io/trainer",
    "io.kubernetes.cri-o.Devices",
    "io.katacontainers.config.hypervisor.path",
    "run.oci.handler",
    "controller-uid",
    "job-name",
)
FREE_KEYS = (
    "team",
    "example.com/cost-center",
    "prometheus.io/scrape",
    "cluster-autoscaler.kubernetes.io/safe-to-evict",
    "karpenter.sh/do-not-disrupt",
    "app.kubernetes.io/part-of",
    "notkubernetes.io/a",
    "job-names",
)
RESERVED_VARIABLES = (
    "FINETUNE_IMAGE",
    "KUBEFLOW_TRAINER_SERVER_URL",
    "DISABLE_KUBEFLOW_INTEGRATION",
    "PET_NNODES",
    "WORLD_SIZE",
    "ACCELERATE_MIXED_PRECISION",
    "PATH",
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "CUDA_INJECTION64_PATH",
    "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD",
    "NVIDIA_VISIBLE_DEVICES",
    "AMD_VISIBLE_DEVICES",
    "HOME",
    "HF_HOME",
    "TMPDIR",
    "TORCHINDUCTOR_CACHE_DIR",
    "TOKENIZERS_PARALLELISM",
)
FREE_VARIABLES = ("HF_ENDPOINT", "HTTPS_PROXY", "no_proxy", "OMP_NUM_THREADS", "WANDB_MODE", "MY_PATH", "_")
HOSTILE_VALUES = (
    "",
    "'\"`\\",
    "$(KUBEFLOW_TRAINER_SERVER_TOKEN) $$(A) $ $$ $",
    "$'\\x3b'; rm -rf /",
    "a\nb\r\n\tc",
    "\u202e\u0661\u0645",
    "-x --y",
    "{{ .Values.a }} ${A} %(b)s",
)

POD_BROKEN_RULES: dict[str, tuple[Changes, str]] = {
    "a toleration of everything that compares": (
        _pod(tolerations=[{"effect": "NoSchedule"}]),
        "a toleration without `key` must have the `operator` Exists",
    ),
    "a toleration that exists with a value": (
        _pod(tolerations=[{"key": "gpu", "operator": "Exists", "value": "yes"}]),
        "`value` of a toleration must be left out with the `operator` Exists",
    ),
    "a toleration that ends without evicting": (
        _pod(tolerations=[{"key": "gpu", "effect": "NoSchedule", "tolerationSeconds": 3}]),
        "`tolerationSeconds` must be left out unless `effect` is NoExecute",
    ),
    "a node label that exists with a value": (
        _node(key="gpu", operator="Exists", values=["a"]),
        "`values` must be given for In and NotIn, be one integer for Gt and Lt, and else be left out",
    ),
    "a neighbour's label in nothing": (
        _near(key="app", operator="In", values=[]),
        "`values` must be given for In and NotIn, and be left out for Exists and DoesNotExist",
    ),
    "two spreads over one thing": (
        _pod(topologySpreadConstraints=[SPREAD, {**SPREAD, "maxSkew": 2}]),
        "every `topologySpreadConstraints` must have another `topologyKey` or another `whenUnsatisfiable`",
    ),
    "the priority of the cluster's own pods": (
        _pod(priorityClassName="system-node-critical"),
        "`priorityClassName` must not be one of the cluster's own, which begin with system-",
    ),
    "a label that makes a GitOps tool prune": (_pod(labels={"app.kubernetes.io/instance": "a"}), RESERVED),
    "a label with a blank": (_pod(labels={"my team": "a"}), NOT_A_KEY),
    "a variable that says who the run is": (_pod(env=[{"name": "FINETUNE_IMAGE", "value": "a"}]), KEPT),
    "a variable with two values": (
        _pod(env=[{"name": "A", "value": "", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}]),
        "a variable must have either `value` or `valueFrom`",
    ),
    "a variable from nowhere": (
        _pod(env=[{"name": "A", "valueFrom": {}}]),
        "`valueFrom` must have either `secretKeyRef` or `configMapKeyRef`",
    ),
    "a volume of nothing": (_volume(), ONE_TYPE),
    "a projected source of nothing": (
        _volume(projected={"sources": [{}]}),
        "one of `projected.sources` must have either `configMap` or `secret`",
    ),
    "two volumes in one place": (
        _pod(
            volumes=[
                {"name": "a", "mountPath": "/mnt/a", "emptyDir": {}},
                {"name": "b", "mountPath": "/mnt/a", "emptyDir": {}},
            ]
        ),
        "every volume must have another `mountPath`",
    ),
}

POD_OUT_OF_BOUNDS: dict[str, Changes] = {
    **{f"a host's own: {field}": _pod(**{field: True}) for field in ("hostNetwork", "hostPID", "hostIPC")},
    "a container of one's own": _pod(containers=[{"name": "trainer", "image": "a"}]),
    "an init container": _pod(initContainers=[{"name": "a", "image": "a"}]),
    "a command": _pod(command=["sh", "-c", "id"]),
    "an image in the pod": _pod(image="a"),
    "a security context": _pod(securityContext={"runAsUser": 0}),
    "an account in the pod": _pod(serviceAccountName="strong"),
    "a mounted token": _pod(automountServiceAccountToken=True),
    "a node by its name": _pod(nodeName="node"),
    "a scheduler": _pod(schedulerName="mine"),
    "an account with a slash": {"runtime": {"serviceAccountName": "other/strong"}},
    "a folder of the host": _volume(hostPath={"path": "/"}),
    "a token of an account": _volume(projected={"sources": [{"serviceAccountToken": {"path": "token"}}]}),
    "a driver's volume": _volume(csi={"driver": "nfs.csi.k8s.io"}),
    "a server's folder": _volume(nfs={"server": "a", "path": "/"}),
    "a volume of two types": _volume(emptyDir={}, secret={"secretName": "a"}),
    "a volume read by many": _volume(
        ephemeral={
            "volumeClaimTemplate": {
                "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": 1}}}
            }
        }
    ),
    **{
        f"a volume at {path}": _volume(mountPath=path, emptyDir={})
        for path in (
            "", "/", "/mnt", "/mnt/", "mnt/a", "/mnt/a/", "/mnt//a", "/mnt/..", "/mnt/../etc", "/mnt/./a",
            "/mnt/a:b", "/mnt/a b", "/mnt/$(HOME)", "/mnt/a\n", "/etc/finetune", "/var/run/finetune/token",
            "/var/lib/finetune", "/volumes/data", "/dev/shm", "/proc", "/sys", "/usr/lib", "/tmp",
            "/var/run/secrets/kubernetes.io",
        )
    },
    "a file out of its volume": _volume(secret={"secretName": "a", "items": [{"key": "k", "path": "../a"}]}),
    "two volumes of one name": _pod(
        volumes=[
            {"name": "a", "mountPath": "/mnt/a", "emptyDir": {}},
            {"name": "a", "mountPath": "/mnt/b", "emptyDir": {}},
        ]
    ),
    "two variables of one name": _pod(env=[{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]),
    **{
        f"a variable called {name!r}": _pod(env=[{"name": name, "value": ""}])
        for name in ("", "1A", "A B", "A=B", "A-B", "$(A)", "A\n", "\u00c4", *RESERVED_VARIABLES)
    },
    "a variable with a NUL": _pod(env=[{"name": "A", "value": "a\x00b"}]),
    "a variable of the node": _pod(
        env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}]
    ),
    "a secret of another namespace": _pod(
        env=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b", "namespace": "c"}}}]
    ),
    "neighbours in other namespaces": _pod(
        affinity={
            "podAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    {"labelSelector": {}, "topologyKey": "zone", "namespaces": ["other"]}
                ]
            }
        }
    ),
    **{f"a label {key}": _pod(labels={key: "a"}) for key in RESERVED_KEYS},
    **{f"an annotation {key}": _pod(annotations={key: "a"}) for key in RESERVED_KEYS},
    **{
        f"a node with the label {key!r}": _pod(nodeSelector={key: "a"})
        for key in ("", "/a", "a/", "a/b/c", "A.example/b", "a b", "a" * 64, "a\n", "$(A)", f"{'a' * 254}/b")
    },
    "a label with a value of 64 characters": _pod(labels={"a": "b" * 64}),
    "seventeen labels": _pod(labels={f"a{n}": "" for n in range(17)}),
    "a skew of nothing": _pod(topologySpreadConstraints=[{**SPREAD, "maxSkew": 0}]),
    "a node label above a word": _node(key="gpus", operator="Gt", values=["many"]),
    "a node term of nothing": _pod(
        affinity={
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{}]}}
        }
    ),
}  # fmt: skip

POD_ACCEPTED: dict[str, Changes] = {
    "a pod of nothing special": _pod(),
    "a pod with everything": {
        "runtime": {
            "serviceAccountName": "models-reader",
            "pod": {
                "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"},
                "tolerations": [
                    {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
                    {"key": "team", "value": "search", "effect": "NoExecute", "tolerationSeconds": 60},
                    {"operator": "Exists"},
                ],
                "affinity": {
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {
                            "nodeSelectorTerms": [
                                {
                                    "matchExpressions": [
                                        {"key": "zone", "operator": "In", "values": ["a", "b"]},
                                        {"key": "spot", "operator": "DoesNotExist"},
                                        {"key": "gpus", "operator": "Gt", "values": ["3"]},
                                    ]
                                }
                            ]
                        },
                        "preferredDuringSchedulingIgnoredDuringExecution": [
                            {
                                "weight": 10,
                                "preference": {"matchExpressions": [{"key": "fast", "operator": "Exists"}]},
                            }
                        ],
                    },
                    "podAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": [
                            {"labelSelector": {"matchLabels": {"app": "cache"}}, "topologyKey": "zone"}
                        ]
                    },
                    "podAntiAffinity": {
                        "preferredDuringSchedulingIgnoredDuringExecution": [
                            {
                                "weight": 1,
                                "podAffinityTerm": {
                                    "labelSelector": {
                                        "matchExpressions": [
                                            {"key": "team", "operator": "NotIn", "values": ["search"]}
                                        ]
                                    },
                                    "topologyKey": "kubernetes.io/hostname",
                                },
                            }
                        ]
                    },
                },
                "topologySpreadConstraints": [SPREAD, {**SPREAD, "whenUnsatisfiable": "DoNotSchedule"}],
                "priorityClassName": "research",
                "runtimeClassName": "gvisor",
                "imagePullSecrets": [{"name": "registry"}],
                "env": [
                    {"name": "HF_ENDPOINT", "value": "https://hub.example"},
                    {"name": "WANDB_API_KEY", "valueFrom": {"secretKeyRef": {"name": "wandb", "key": "key"}}},
                    {
                        "name": "REGION",
                        "valueFrom": {
                            "configMapKeyRef": {"name": "site", "key": "region.txt", "optional": True}
                        },
                    },
                ],
                "volumes": [
                    {"name": "scratch", "mountPath": "/mnt/scratch", "emptyDir": {"sizeLimit": "10Gi"}},
                    {"name": "memory", "mountPath": "/mnt/memory", "emptyDir": {"medium": "Memory"}},
                    {
                        "name": "own",
                        "mountPath": "/mnt/own",
                        "persistentVolumeClaim": {"claimName": "data"},
                        "readOnly": True,
                    },
                    {"name": "site", "mountPath": "/mnt/site", "configMap": {"name": "site"}},
                    {
                        "name": "keys",
                        "mountPath": "/mnt/keys",
                        "secret": {"secretName": "keys", "items": [{"key": "a.pem", "path": "tls/a.pem"}]},
                    },
                    {
                        "name": "both",
                        "mountPath": "/mnt/both",
                        "projected": {
                            "sources": [
                                {"configMap": {"name": "site"}},
                                {"secret": {"name": "keys", "optional": True}},
                            ]
                        },
                    },
                    {
                        "name": "fast",
                        "mountPath": "/mnt/fast",
                        "ephemeral": {
                            "volumeClaimTemplate": {
                                "spec": {
                                    "accessModes": ["ReadWriteOnce"],
                                    "storageClassName": "local-nvme",
                                    "resources": {"requests": {"storage": "500Gi"}},
                                }
                            }
                        },
                    },
                ],
                "labels": {"team": "search", "app.kubernetes.io/part-of": "search"},
                "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"},
            },
        }
    },
    "variables of every value": _pod(
        env=[{"name": f"A{n}", "value": value} for n, value in enumerate(HOSTILE_VALUES)]
    ),
    "variables that are not kept": _pod(env=[{"name": name, "value": ""} for name in FREE_VARIABLES]),
    "labels that nobody acts on": _pod(labels=dict.fromkeys(FREE_KEYS, "")),
    "annotations that nobody acts on": _pod(
        annotations=dict.fromkeys(FREE_KEYS, "any text, \"quoted\" or 'so'\n$(A)")
    ),
}
