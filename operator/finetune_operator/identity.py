"""Who sends a report: from a pod's token to the run it belongs to.

TokenReview says which pod holds the token; the pod's owner must be a Job and the Job's owner a finetune, each
by uid. So a pod can speak for its own run alone, whatever else runs in its namespace.
"""

import base64
import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any

from finetune_api import names
from finetune_operator.kube import Kube
from finetune_operator.memory import Key

POD_NAME = "authentication.kubernetes.io/pod-name"
POD_UID = "authentication.kubernetes.io/pod-uid"
SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"

MAX_CACHED = 4096
# A deleted pod is forgotten when the watch tells of it; this bounds what a missed event costs.
MAX_CACHED_SECONDS = 300.0
MAX_TOKEN_LENGTH = 8192


Seen = Callable[[str, str, str, str], dict[str, Any] | None]


class NotAllowed(Exception):
    """The token does not belong to a pod of a finetune's run. The message never repeats the token."""


@dataclass(frozen=True)
class Sender:
    """The run whose pod holds the token."""

    key: Key
    uid: str
    """Of the finetune."""
    run: int
    pod_uid: str
    pod_order: tuple[str, str]
    """Creation time as the API server writes it, and name: of two pods of a run the greater is the newer."""


class Senders:
    """Identifies senders, and remembers them by the token's hash until it expires. Safe among threads."""

    def __init__(
        self,
        kube: Kube,
        audience: str,
        *,
        seen: Seen = lambda *_: None,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """seen: the object of that kind, namespace, name and uid if a watch has shown it; it saves a GET."""
        self._kube = kube
        self._audience = audience
        self._seen = seen
        self._now = now
        self._monotonic = monotonic
        self._lock = Lock()
        self._cached: OrderedDict[bytes, tuple[Sender, float]] = OrderedDict()
        self._gone: OrderedDict[str, None] = OrderedDict()
        """Uids of deleted pods. Also those whose token is just being looked up."""

    def recall(self, token: str) -> Sender | None:
        """The sender if the token is known, without a request; None: `identify` has to ask.

        Raises NotAllowed for what cannot be a token for us.
        """
        self._seconds_left(token)
        with self._lock:
            sender, until = self._cached.get(_digest(token), (None, 0.0))
            is_gone = sender is not None and sender.pod_uid in self._gone
        return sender if self._monotonic() < until and not is_gone else None

    def identify(self, token: str) -> Sender:
        """Ask the API server. Raises NotAllowed; its own errors rise."""
        until = self._monotonic() + min(self._seconds_left(token), MAX_CACHED_SECONDS)
        sender = find_sender(self._kube, token, self._audience, self._seen)
        with self._lock:
            self._cached[_digest(token)] = (sender, until)
            while len(self._cached) > MAX_CACHED:
                self._cached.popitem(last=False)
        return sender

    def pod_gone(self, pod_uid: str) -> None:
        """Ask anew about every token of that pod: the API server refuses them from now on."""
        with self._lock:
            self._gone[pod_uid] = None
            while len(self._gone) > MAX_CACHED:
                self._gone.popitem(last=False)

    def _seconds_left(self, token: str) -> float:
        """Until the token ends by its own word and our clock, which may be wrong: the API server decides.

        Nothing is trusted by this, but what cannot be a token for us is refused without asking it.
        """
        claims = _claims(token)
        if self._audience not in claims["aud"]:
            raise NotAllowed(f"the token is not for the audience {self._audience}")
        return float(claims["exp"]) - self._now()


def find_sender(kube: Kube, token: str, audience: str, seen: Seen) -> Sender:
    """The run whose pod holds the token, as the API server sees it now: owners never change."""

    def find(kind: str, namespace: str, name: str, uid: str) -> dict[str, Any]:
        there = seen(kind, namespace, name, uid) or kube.get(kind, namespace, name)
        return _same(there, uid, f"{kind} {namespace}/{name}")

    review = kube.review_token(token, audience)
    if not review.get("authenticated") or audience not in review.get("audiences", []):
        raise NotAllowed("the API server does not accept the token")
    namespace, pod_name, pod_uid = _pod_of(review.get("user", {}))
    pod = find("Pod", namespace, pod_name, pod_uid)
    job_name, job_uid = _owner(pod, "Job")
    job = find("Job", namespace, job_name, job_uid)
    finetune_name, finetune_uid = _owner(job, names.KIND)
    run = (job["metadata"].get("labels") or {}).get(names.LABEL_RUN, "")
    if not run.isdecimal():
        raise NotAllowed(f"Job {namespace}/{job_name} has no run number in its label {names.LABEL_RUN}")
    pod_order = (str(pod["metadata"].get("creationTimestamp", "")), pod_name)
    return Sender(Key(namespace, finetune_name), finetune_uid, int(run), pod_uid, pod_order)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _claims(token: str) -> dict[str, Any]:
    try:
        if len(token) > MAX_TOKEN_LENGTH:
            raise ValueError("too long")  # noqa: TRY301 - one way out for everything that is no token
        part = token.split(".")[1]
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        float(claims["exp"])
        list(claims["aud"])
    except (LookupError, ValueError, TypeError, RecursionError) as error:
        raise NotAllowed("the bearer token is not a service-account token") from error
    return claims


def _pod_of(user: dict[str, Any]) -> tuple[str, str, str]:
    """Namespace, name and uid of the pod that the token is bound to."""
    username = str(user.get("username", ""))
    extra = user.get("extra") or {}
    if not username.startswith(SERVICE_ACCOUNT_PREFIX) or POD_NAME not in extra or POD_UID not in extra:
        raise NotAllowed("the token is not bound to a pod")
    return username.removeprefix(SERVICE_ACCOUNT_PREFIX).split(":")[0], extra[POD_NAME][0], extra[POD_UID][0]


def _same(found: dict[str, Any] | None, uid: str, what: str) -> dict[str, Any]:
    if found is None or found["metadata"]["uid"] != uid:
        raise NotAllowed(f"{what} is gone")
    return found


def _owner(child: dict[str, Any], kind: str) -> tuple[str, str]:
    """Name and uid of the controller of that kind."""
    for owner in child["metadata"].get("ownerReferences") or []:
        if owner.get("controller") and owner["kind"] == kind:
            return owner["name"], owner["uid"]
    raise NotAllowed(f"{child['metadata']['name']} does not belong to a {kind}")
