"""What others write when they keep a pod or a Job back, in our terms: reason, meaning, and who can help.

Read from refusals of the API server, from Events and from the pod's own status: the same words come by all
three ways. Reasons are stable, the words of others are not: what is not known here is shown as it is.
"""

import re
from dataclasses import dataclass

from finetune_operator.decisions.texts import clip, next_step, sentence, without_credentials

MAX_WORDS = 600
"""Characters of a message that others wrote, so that an Event has room for the next step behind it."""


@dataclass(frozen=True)
class Problem:
    """What keeps a run from running."""

    reason: str
    message: str
    """What was found, and what was wanted."""
    hint: str
    """The next step, behind who takes it: see `next_step`."""

    @property
    def text(self) -> str:
        return f"{sentence(clip(self.message, MAX_WORDS))} {self.hint}"


@dataclass(frozen=True)
class Known:
    """Words that are known. {0}, {1} are the pattern's groups, {namespace} the finetune's."""

    pattern: str
    reason: str
    message: str
    you: str = ""
    platform: str = ""


_GOES_ON = "the run goes on by itself once it is there"
_MENDS = "the run goes on by itself"

# First hit decides.
_VOLUMES = (
    Known(
        r'persistentvolumeclaim "([^"]+)" not found', "ClaimMissing",
        "PersistentVolumeClaim {0} does not exist in namespace {namespace}",
        you=f"create it, or correct the field of the spec that names it; {_GOES_ON}",
    ),
    Known(
        r'persistentvolumeclaim "([^"]+)" is being deleted', "ClaimTerminating",
        "PersistentVolumeClaim {0} is being deleted",
        you="create it again when it is gone, or name another claim in the spec",
    ),
    Known(
        r'persistentvolumeclaim "([^"]+)" bound to non-existent persistentvolume "([^"]+)"', "ClaimLost",
        "PersistentVolumeClaim {0} is bound to volume {1}, which is gone",
        you="delete the claim and create it again", platform="see what became of its volume",
    ),
    Known(
        r"unbound immediate PersistentVolumeClaims|waiting for a volume to be created", "ClaimNotBound",
        "A PersistentVolumeClaim of this run is not bound to a volume yet",
        you="see `kubectl describe pvc -n {namespace}`",
        platform=f"provide the volume or StorageClass that the claim asks for; {_MENDS}",
    ),
    Known(
        r'Multi-Attach error for volume "([^"]+)"\s*(.*)', "VolumeInUse",
        "Volume {0} is attached to another node: {1}",
        you="wait until the pod that uses it has ended, or use a claim with access mode ReadWriteMany",
        platform="if that node is gone, delete its VolumeAttachment",
    ),
    Known(
        r"mount volumes.*: (timed out .*|context deadline exceeded)", "VolumeNotMounted",
        "A volume of this run could not be attached or mounted: {0}",
        platform=f"see the storage driver's log and `kubectl get volumeattachment`; {_MENDS}",
    ),
)  # fmt: skip

_SECRETS = (
    Known(
        r'secret "([^"]+)" not found', "SecretMissing",
        "Secret {0} does not exist in namespace {namespace}",
        you=(
            "create it (`kubectl create secret generic {0} -n {namespace} --from-literal=<key>=<value>`), or"
            f" correct the secretRef; {_GOES_ON}"
        ),
    ),
    Known(
        r"couldn't find key (\S+) in Secret [^/\s]+/([^\s:]+)", "SecretKeyMissing",
        "Secret {1} of namespace {namespace} has no key {0}",
        you="add the key to the Secret, or correct the field of the spec that names it",
    ),
    Known(
        r"references non-existent secret key: (\S+)", "SecretKeyMissing",
        "A Secret of this run has no key {0}",
        you="add the key to the Secret, or correct the field of the spec that names it",
    ),
    Known(
        r'configmap "([^"]+)" not found', "ConfigMapMissing",
        "ConfigMap {0} does not exist in namespace {namespace}",
        you=f"create it, or correct the field of the spec that names it; {_GOES_ON}",
    ),
    Known(
        r"couldn't find key (\S+) in ConfigMap [^/\s]+/([^\s:]+)", "ConfigMapKeyMissing",
        "ConfigMap {1} of namespace {namespace} has no key {0}",
        you="add the key to the ConfigMap, or correct the field of the spec that names it",
    ),
    Known(
        r"references non-existent config key: (\S+)", "ConfigMapKeyMissing",
        "A ConfigMap of this run has no key {0}",
        you="add the key to the ConfigMap, or correct the field of the spec that names it",
    ),
)  # fmt: skip

_ADMISSION = (
    Known(
        r"exceeded quota: ([^,]+), (requested: .+)", "QuotaExceeded",
        "ResourceQuota {0} of namespace {namespace} has no room: {1}",
        you="wait until others end, or ask for less in spec.runtime",
        platform=f"raise the quota; {_MENDS}",
    ),
    Known(
        r"failed quota: ([^:]+): must specify (.+)", "QuotaNeedsResources",
        "ResourceQuota {0} of namespace {namespace} admits only pods that specify {1}",
        you="set that in spec.runtime.resources",
        platform="or give defaults in a LimitRange",
    ),
    Known(
        r"status unknown for quota: ([^,]+)", "QuotaNotReady",
        "It is not known yet what ResourceQuota {0} of namespace {namespace} has left",
        platform=f"if it lasts, see the log of kube-controller-manager; {_MENDS}",
    ),
    Known(
        r"((?:minimum|maximum) \S+ usage per (?:Container|Pod) is .+|\S+ max limit to request ratio .+)",
        "LimitRangeViolation", "A LimitRange of namespace {namespace} refuses the pod: {0}",
        you="correct spec.runtime.resources (see `kubectl describe limitrange -n {namespace}`)",
        platform="or correct the LimitRange",
    ),
    Known(
        r'violates PodSecurity "([^"]+)": (.+)', "PodSecurityViolation",
        "Namespace {namespace} enforces Pod Security {0}, which refuses the pod: {1}",
        you="take out of spec.runtime.pod what it objects to: the trainer itself fits the level restricted",
        platform="or correct the labels of the namespace",
    ),
    Known(
        r"ValidatingAdmissionPolicy '([^']+)'(?: with binding '[^']+')? denied request: (.+)",
        "PolicyDenied", "ValidatingAdmissionPolicy {0} refuses it: {1}",
        you="change in the spec what the policy objects to",
        platform="or correct the policy",
    ),
    Known(
        r'admission webhook "([^"]+)" denied the request:? ?(.*)', "WebhookDenied",
        "Admission webhook {0} refuses it: {1}",
        you="change in the spec what the webhook objects to",
        platform="or correct its policy",
    ),
    Known(
        r'failed calling webhook "([^"]+)": (?:failed to call webhook: )?(.+)', "WebhookUnreachable",
        "Admission webhook {0} has to agree, but does not answer: {1}",
        platform=f"repair the webhook, or set its failurePolicy to Ignore; {_MENDS}",
    ),
    Known(
        r'serviceaccounts? "([^"]+)" not found', "ServiceAccountMissing",
        "Service account {0} does not exist in namespace {namespace}",
        you=f"create it, or correct spec.runtime.serviceAccountName; {_GOES_ON}",
    ),
    Known(
        r"no PriorityClass with name (\S+) was found", "PriorityClassMissing",
        "PriorityClass {0} does not exist",
        you="name one that `kubectl get priorityclass` shows in spec.runtime.pod.priorityClassName",
        platform="or create it",
    ),
    Known(
        r'RuntimeClass "([^"]+)" not found', "RuntimeClassMissing",
        "RuntimeClass {0} does not exist",
        you="name one that `kubectl get runtimeclass` shows in spec.runtime.pod.runtimeClassName",
        platform="or create it",
    ),
    Known(
        r"namespace (\S+) because it is being terminated", "NamespaceTerminating",
        "Namespace {0} is being deleted",
        you="create the finetune in another namespace",
    ),
    Known(
        r'(User "(?!system:node:)[^"]+" cannot \w+ resource "[^"]+")', "OperatorForbidden",
        "The operator may not do it: {0}",
        platform="install the roles of the operator's chart for this namespace",
    ),
)  # fmt: skip

_NODES = (
    Known(
        # For a moment after the pod was bound, the API server does not know yet what its node may read.
        r'User "system:node:([^"]+)" cannot \w+ resource "([^"]+)"', "VolumeNotMounted",
        "Node {0} may not read the {1} of the pod yet",
        platform=f"if it lasts, see the node's credentials; {_MENDS}",
    ),
    Known(
        r'no runtime for "([^"]+)" is configured', "RuntimeHandlerMissing",
        "The container runtime of the node has no handler {0}, which the pod's RuntimeClass names",
        platform="configure it on the node, or keep such pods away from there",
    ),
    Known(
        r"container has runAsNonRoot and (.+)", "ImageRunsAsRoot",
        "The image cannot be run without root rights: {0}",
        you="name the trainer's image in spec.runtime.image, or one that is built upon it",
    ),
    Known(
        r"(failed to (?:set ?up|create) (?:pod )?(?:network|sandbox).+|network is not ready.*)",
        "NetworkNotReady", "The node could not give the pod a network: {0}",
        platform="see the log of the node's kubelet and of its network plugin",
    ),
)  # fmt: skip

KNOWN = tuple(
    (re.compile(known.pattern, re.DOTALL), known) for known in (*_VOLUMES, *_SECRETS, *_ADMISSION, *_NODES)
)


def explain(text: str, namespace: str) -> Problem | None:
    """The problem that these words of the cluster's tell of; None when they are not known."""
    text = without_credentials(text).strip()
    for pattern, known in KNOWN:
        if match := pattern.search(text):
            found = [clip(group, MAX_WORDS).strip().rstrip(".") for group in match.groups("")]
            message, you, platform = (
                part.format(*found, namespace=namespace)
                for part in (known.message, known.you, known.platform)
            )
            return Problem(known.reason, message, next_step(you=you, platform=platform))
    return None
