"""What the cluster says, word for word as Kubernetes 1.34 says it, and what becomes of it."""

import pytest

from finetune_operator.decisions.explanations import explain
from finetune_operator.decisions.images import image_problem
from finetune_operator.decisions.scheduling import unschedulable
from tests.plan import world

BOTH, YOURS, THEIRS = ("You", "Platform team"), ("You",), ("Platform team",)
POD = 'Error creating: pods "vdr-1-x" is forbidden: '
FAILED_MOUNT = 'MountVolume.SetUp failed for volume "secret-0" : '

# Text -> reason, what the message names, who acts.
WORDS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    '0/1 nodes are available: persistentvolumeclaim "data" not found.': ("ClaimMissing", ("data",), YOURS),
    '0/1 nodes are available: persistentvolumeclaim "data" is being deleted.': (
        "ClaimTerminating", ("data",), YOURS,
    ),
    '0/1 nodes are available: persistentvolumeclaim "data" bound to non-existent persistentvolume "pv-1".': (
        "ClaimLost", ("data", "pv-1"), BOTH,
    ),
    "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: none": (
        "ClaimNotBound", (), BOTH,
    ),
    'Multi-Attach error for volume "pv-1" Volume is already used by pod(s) other-0': (
        "VolumeInUse", ("pv-1", "other-0"), BOTH,
    ),
    "Unable to attach or mount volumes: unmounted volumes=[claim-0], unattached volumes=[],"
    " failed to process volumes=[]: timed out waiting for the condition": (
        "VolumeNotMounted", ("timed out",), THEIRS,
    ),
    f'{FAILED_MOUNT}secret "hf" not found': ("SecretMissing", ("hf",), YOURS),
    f"{FAILED_MOUNT}references non-existent secret key: token": ("SecretKeyMissing", ("token",), YOURS),
    "couldn't find key token in Secret team-a/hf": ("SecretKeyMissing", ("token", "hf"), YOURS),
    f'{FAILED_MOUNT}configmap "rows" not found': ("ConfigMapMissing", ("rows",), YOURS),
    "configmap references non-existent config key: a.csv": ("ConfigMapKeyMissing", ("a.csv",), YOURS),
    "couldn't find key a.csv in ConfigMap team-a/rows": ("ConfigMapKeyMissing", ("a.csv", "rows"), YOURS),
    f"{POD}exceeded quota: gpus, requested: pods=1, used: pods=4, limited: pods=4": (
        "QuotaExceeded", ("gpus", "pods=4"), BOTH,
    ),
    f"{POD}failed quota: memory: must specify limits.memory for: trainer": (
        "QuotaNeedsResources", ("memory", "limits.memory"), BOTH,
    ),
    f"{POD}status unknown for quota: gpus, resources: pods": ("QuotaNotReady", ("gpus",), THEIRS),
    f"{POD}[minimum cpu usage per Container is 1, but request is 100m, maximum memory usage per Container is"
    " 1Gi, but limit is 2Gi]": ("LimitRangeViolation", ("but request is 100m", "limit is 2Gi"), BOTH),
    f"{POD}cpu max limit to request ratio per Container is 2, but provided ratio is 4.000000": (
        "LimitRangeViolation", ("cpu max limit", "4.000000"), BOTH,
    ),
    f'{POD}violates PodSecurity "restricted:v1.34": unrestricted capabilities (container "x" must drop)': (
        "PodSecurityViolation", ("restricted:v1.34", "capabilities"), BOTH,
    ),
    f"{POD}ValidatingAdmissionPolicy 'images' with binding 'all' denied request: unsigned": (
        "PolicyDenied", ("images", "unsigned"), BOTH,
    ),
    'admission webhook "policy.example.com" denied the request: no': (
        "WebhookDenied", ("policy.example.com", "no"), BOTH,
    ),
    'Internal error occurred: failed calling webhook "policy.example.com": failed to call webhook: Post'
    ' "https://policy.svc:443/?timeout=10s": dial tcp 10.0.0.9:443: connect: connection refused': (
        "WebhookUnreachable", ("policy.example.com", "connection refused"), THEIRS,
    ),
    f'{POD}error looking up service account team-a/robot: serviceaccount "robot" not found': (
        "ServiceAccountMissing", ("robot",), YOURS,
    ),
    f"{POD}no PriorityClass with name urgent was found": ("PriorityClassMissing", ("urgent",), BOTH),
    f'{POD}pod rejected: RuntimeClass "gvisor" not found': ("RuntimeClassMissing", ("gvisor",), BOTH),
    "jobs.batch is forbidden: unable to create new content in namespace team-a because it is being"
    " terminated": ("NamespaceTerminating", ("team-a",), YOURS),
    'jobs.batch is forbidden: User "system:serviceaccount:ops:eft" cannot create resource "jobs"': (
        "OperatorForbidden", ("cannot create", "jobs"), THEIRS,
    ),
    f'{FAILED_MOUNT}configmaps "one" is forbidden: User "system:node:a" cannot get resource "configmaps"'
    " in API group: no relationship found between node 'a' and this object": (
        "VolumeNotMounted", ("Node a", "configmaps"), THEIRS,
    ),
    'Failed to create pod sandbox: rpc error: no runtime for "nvidia" is configured': (
        "RuntimeHandlerMissing", ("nvidia",), THEIRS,
    ),
    "container has runAsNonRoot and image will run as root": ("ImageRunsAsRoot", (), YOURS),
    "Failed to create pod sandbox: failed to setup network for sandbox: no route": (
        "NetworkNotReady", ("no route",), THEIRS,
    ),
}  # fmt: skip

NODES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "no nodes available to schedule pods": ((), THEIRS),
    "0/3 nodes are available: 1 Insufficient memory, 3 Insufficient nvidia.com/gpu.": (
        ("memory: 16Gi", "nvidia.com/gpu: 1"), BOTH,
    ),
    "0/1 nodes are available: 1 node(s) had untolerated taint {gpu: only}.": (("{gpu: only}",), BOTH),
    "0/1 nodes are available: 1 node(s) had untolerated taint(s).": ((), BOTH),
    "0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/unreachable: }.": (
        ("unreachable",), THEIRS,
    ),
    "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.": ((), BOTH),
    "0/1 nodes are available: 1 node(s) were unschedulable.": ((), THEIRS),
    "0/1 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity.": ((), BOTH),
    "0/1 nodes are available: 1 node(s) didn't find available persistent volumes to bind.": ((), THEIRS),
    "something new": (("something new",), THEIRS),
}  # fmt: skip

IMAGES: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    ("InvalidImageName", 'Failed to apply default image tag "A/b": couldn\'t parse image name'): (
        "InvalidImageName", YOURS,
    ),
    ("ErrImagePull", 'failed to resolve reference "registry.example/trainer:2": not found'): (
        "ImageNotFound", YOURS,
    ),
    ("ErrImagePull", "pull access denied, repository does not exist or may require authorization"): (
        "ImageAccessDenied", BOTH,
    ),
    ("ErrImagePull", "unexpected status from HEAD request: 403 Forbidden"): ("ImageAccessDenied", BOTH),
    ("ErrImagePull", "dial tcp: lookup registry.example: no such host"): ("ImagePullFailed", THEIRS),
    ("ImagePullBackOff", 'Back-off pulling image "trainer"'): ("ImagePullFailed", THEIRS),
    ("ErrImagePull", "no match for platform in manifest: not found"): ("ImageOfOtherPlatform", YOURS),
    ("ErrImagePull", "write /var/lib/containerd: no space left on device"): ("NodeDiskFull", THEIRS),
    ("ErrImageNeverPull", 'Container image "trainer" is not present'): ("ImageNotPresent", THEIRS),
}  # fmt: skip


def who_acts(hint: str) -> tuple[str, ...]:
    return tuple(who for who in BOTH if f"{who}: " in hint)


@pytest.mark.parametrize("text", WORDS)
def test_known_words_become_a_reason_a_meaning_and_a_next_step(text: str) -> None:
    reason, named, who = WORDS[text]
    problem = explain(text, "team-a")
    assert problem is not None
    assert problem.reason == reason
    assert [word for word in named if word not in problem.message] == []
    assert who_acts(problem.hint) == who
    assert "{" not in problem.hint


def test_other_words_are_not_explained() -> None:
    assert explain("the moon is full", "team-a") is None


@pytest.mark.parametrize("text", NODES)
def test_what_the_nodes_lack_decides_who_acts(text: str) -> None:
    named, who = NODES[text]
    problem = unschedulable(
        world.a_pod(),
        f"{text} no new claims to deallocate, preemption: 0/3 nodes are available: 3 No victims.",
    )
    assert problem.reason == "Unschedulable"
    assert [word for word in named if word not in problem.message] == []
    assert problem.message.endswith(text)
    assert who_acts(problem.hint) == who


@pytest.mark.parametrize("waiting", IMAGES)
def test_an_image_that_cannot_be_had_tells_why(waiting: tuple[str, str]) -> None:
    reason, who = IMAGES[waiting]
    problem = image_problem(world.a_pod(), *waiting)
    assert problem.reason == reason
    assert "images.example/trainer" in problem.message
    assert who_acts(problem.hint) == who


def test_pulling_and_waiting_to_pull_again_say_the_same() -> None:
    error = "failed to pull and unpack image: registry.example/trainer:2: not found"
    waiting = f'Back-off pulling image "registry.example/trainer:2": ErrImagePull: {error}'
    pod = world.a_pod()
    assert image_problem(pod, "ErrImagePull", error) == image_problem(pod, "ImagePullBackOff", waiting)


def test_however_much_the_cluster_says_the_next_step_stays_in_an_event() -> None:
    problem = explain(f'violates PodSecurity "restricted": {"no " * 2000}', "team-a")
    assert problem is not None
    assert len(problem.text) < 1024
    assert problem.text.endswith(problem.hint)


def test_credentials_in_the_words_of_others_are_left_out() -> None:
    problem = explain(
        'failed calling webhook "w": Post "https://me:hunter2@w.svc/?token=abc": refused', "team-a"
    )
    assert problem is not None
    assert "hunter2" not in problem.text
    assert "abc" not in problem.text
