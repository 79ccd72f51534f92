"""PURE: the objects of a run as dicts: its ConfigMap and its Job, both named `<finetune>-<run>`."""

import json
from typing import Any

from finetune_api import names
from finetune_api.exit_codes import USER_ERRORS, ExitCode
from finetune_api.run_file import CA_FILE, CONTAINER, RUN_FILE, RunFile
from finetune_api.spec import FinetuneSpec
from finetune_api.status import Run
from finetune_operator.decisions.objects import name_of, uid_of
from finetune_operator.decisions.observed import Object
from finetune_operator.decisions.pod_template import build_pod_spec, pod_hash
from finetune_operator.settings import Settings


def build_config_map(
    finetune: Object, spec: FinetuneSpec, run: Run, ca_certificate: str, *, allow_remote_code: bool
) -> Object:
    """What the run reads: its file, and the certificate to know the report server by."""
    file = RunFile(
        namespace=finetune["metadata"]["namespace"],
        name=name_of(finetune),
        uid=uid_of(finetune),
        run=run.number,
        spec_hash=run.spec_hash,
        allow_remote_code=allow_remote_code,
        spec=spec,
    )
    content = json.dumps(file.to_dict(), indent=2, sort_keys=True, ensure_ascii=False)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(finetune, run),
        "immutable": True,  # one run reads one spec, and the kubelet need not watch it
        "data": {RUN_FILE: f"{content}\n", CA_FILE: ca_certificate},
    }


def build_job(finetune: Object, spec: FinetuneSpec, run: Run, settings: Settings) -> Object:
    """The run's Job: a pod an attempt, and none after an error that is the user's to mend.

    No activeDeadlineSeconds (it starts anew on every suspend) and no ttlSecondsAfterFinished (a Job that
    vanished while the operator was down would look like one never made).
    """
    pod = build_pod_spec(
        namespace=finetune["metadata"]["namespace"],
        name=name_of(finetune),
        config=run.job,
        spec=spec,
        settings=settings,
    )
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _job_metadata(finetune, spec, run),
        "spec": {
            "backoffLimit": max(0, spec.limits.retries - run.retries),
            "podFailurePolicy": {"rules": _failure_rules()},
            "podReplacementPolicy": "Failed",
            "template": {"metadata": _pod_metadata(finetune, spec, run), "spec": pod},
        },
    }


def _failure_rules() -> list[dict[str, Any]]:
    # Named by container, or the codes of injected sidecars would end the run.
    return [
        {"action": "FailJob", "onExitCodes": _codes(*USER_ERRORS)},
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "Ignore", "onExitCodes": _codes(ExitCode.INTERRUPTED)},
    ]


def _codes(*codes: ExitCode) -> dict[str, Any]:
    return {"containerName": CONTAINER, "operator": "In", "values": [int(code) for code in codes]}


def _metadata(finetune: Object, run: Run) -> dict[str, Any]:
    return {
        "name": run.job,
        "namespace": finetune["metadata"]["namespace"],
        "labels": _labels(finetune, run),
        "annotations": {names.ANNOTATION_SPEC_HASH: run.spec_hash},
        "ownerReferences": [
            # Without blockOwnerDeletion: some clusters let only those set it who may write finalizers.
            {
                "apiVersion": names.API_VERSION,
                "kind": names.KIND,
                "name": name_of(finetune),
                "uid": uid_of(finetune),
                "controller": True,
            }
        ],
    }


def _pod_metadata(finetune: Object, spec: FinetuneSpec, run: Run) -> dict[str, Any]:
    """With what the finetune says of its pod; our own labels cannot be replaced."""
    said = spec.runtime.pod
    own = {**_labels(finetune, run), names.LABEL_UID: uid_of(finetune)}
    metadata = {"labels": {**said.labels, **own}, "annotations": dict(said.annotations)}
    return {key: value for key, value in metadata.items() if value}


def _job_metadata(finetune: Object, spec: FinetuneSpec, run: Run) -> dict[str, Any]:
    metadata = _metadata(finetune, run)
    annotations = {**metadata["annotations"], names.ANNOTATION_POD_HASH: pod_hash(spec)}
    return {**metadata, "labels": {**metadata["labels"], **_queue(spec)}, "annotations": annotations}


def _queue(spec: FinetuneSpec) -> dict[str, str]:
    """All that Kueue is ever told; the rest of the Job, its suspension above all, is Kueue's to write."""
    return {names.LABEL_QUEUE: spec.runtime.queue_name} if spec.runtime.queue_name else {}


def _labels(finetune: Object, run: Run) -> dict[str, str]:
    """None of the finetune's own: a label of a GitOps tool would make it prune the Job."""
    return {
        names.LABEL_FINETUNE: name_of(finetune),
        names.LABEL_RUN: str(run.number),
        names.LABEL_MANAGED: names.MANAGED_BY,
    }
