"""From apply to Job: what is made, what is said, and what stands in the way."""

from dataclasses import replace
from typing import Any

import pytest

from finetune_operator.decisions.pods import works_for
from finetune_operator.errors import Stalled, Waiting
from tests.plan import world


def test_a_first_look_makes_config_map_and_job_and_says_so() -> None:
    decision = world.decide(world.a_look(now=world.at(0)))
    assert world.all_objects(decision.create) == ["ConfigMap/vdr-1", "Job/vdr-1"]
    assert world.said(decision.status, "Reconciling") == (
        "True",
        "Starting",
        "Job vdr-1 was made; its pod comes up.",
    )
    assert decision.status["run"] == {
        "number": 1,
        "specHash": world.hash_of(world.SPEC),
        "job": "vdr-1",
        "startTime": world.time(0),
    }


def test_a_job_of_ours_that_is_there_already_is_adopted() -> None:
    """The operator ended between making it and writing the status."""
    decision = world.decide(world.a_look(job=world.a_job(), config=world.a_config()))
    assert (decision.create, decision.delete) == ((), ())
    assert decision.status["run"]["startTime"] == world.time(0)


def test_an_adopted_job_that_has_ended_is_concluded_at_once() -> None:
    job = world.failed(world.a_job(), message="Job has reached the specified backoff limit")
    decision = world.decide(world.a_look(job=job))
    assert decision.status["phase"] == "Failed"


@pytest.mark.parametrize("kind", ["Job", "ConfigMap"])
def test_a_name_that_is_taken_stalls_and_touches_nothing(kind: str) -> None:
    strange = world.a_job(ownerReferences=[{**world.OWNER, "name": "other", "uid": "another"}])
    parts = {"Job": {"job": strange}, "ConfigMap": {"config": strange}}
    decision = world.decide(world.a_look(**parts[kind]))
    assert (decision.create, decision.delete, decision.requeue_after_seconds) == ((), (), 60.0)
    assert world.said(decision.status, "Stalled") == (
        "True",
        "NameTaken",
        (
            f"{kind} vdr-1 exists and does not belong to this finetune, which needs the name."
            f" You: delete that {kind}, or give the finetune another name."
        ),
    )


@pytest.mark.parametrize("kind", ["Job", "ConfigMap"])
def test_what_a_deleted_finetune_of_the_same_name_left_is_waited_for(kind: str) -> None:
    left = world.a_job(ownerReferences=[{**world.OWNER, "uid": "another"}])
    parts = {"Job": {"job": left}, "ConfigMap": {"config": left}}
    decision = world.decide(world.a_look(**parts[kind]))
    assert (decision.create, decision.delete, decision.requeue_after_seconds) == ((), (), 2.0)
    assert world.verdicts(decision.status, "Reconciling", "Stalled") == ["True", None]
    (_, reason, message) = world.said(decision.status, "Reconciling") or ("", "", "")
    assert reason == f"{kind}Terminating"
    assert message.startswith(f"{kind} vdr-1 is left of a finetune of the same name that was deleted")


def test_a_pod_says_for_which_finetune_of_that_name_it_works() -> None:
    (_, job) = world.decide(world.a_look()).create
    pod = {"metadata": job["spec"]["template"]["metadata"]}
    assert works_for(pod, world.UID)
    assert not works_for(pod, "another")


@pytest.mark.parametrize("whose", ["pods", "pods_of_others"])
def test_no_job_is_made_before_the_pods_of_an_earlier_one_have_ended(whose: str) -> None:
    at_work: dict[str, Any] = {whose: (world.a_running_pod(),)}
    decision = world.decide(world.a_look(**at_work))
    assert (decision.create, decision.requeue_after_seconds) == ((), 2.0)
    assert (world.said(decision.status, "Reconciling") or ("", "", ""))[1] == "PodTerminating"
    ended: dict[str, Any] = {whose: (world.a_finished_pod(143, name="vdr-1-abcde"),)}
    assert world.decide(world.a_look(**ended)).create


def test_an_owner_that_is_not_the_controller_does_not_count() -> None:
    job = world.a_job(ownerReferences=[{**world.OWNER, "controller": False}])
    assert world.said(world.decide(world.a_look(job=job)).status, "Stalled") is not None


def test_a_name_that_is_free_again_is_used_without_a_change_of_the_spec() -> None:
    stalled = world.decide(world.a_look(job=world.a_job(ownerReferences=[]))).status
    decision = world.decide(world.a_look(world.a_finetune(status=stalled)))
    assert world.all_objects(decision.create) == ["ConfigMap/vdr-1", "Job/vdr-1"]
    assert world.verdicts(decision.status, "Reconciling", "Stalled") == ["True", None]


@pytest.mark.parametrize("kind", ["Job", "ConfigMap"])
def test_an_object_that_goes_away_is_waited_for(kind: str) -> None:
    going = world.a_job(deletionTimestamp=world.time(500))
    parts = {"Job": {"job": going}, "ConfigMap": {"config": going}}
    decision = world.decide(world.a_look(world.started(), **parts[kind]))
    assert (decision.create, decision.delete, decision.requeue_after_seconds) == ((), (), 2.0)
    assert world.said(decision.status, "Reconciling") == (
        "True",
        f"{kind}Terminating",
        f"{kind} vdr-1 (made 2026-03-01T12:00:00Z) is still being deleted; the run goes on when it is gone.",
    )


def test_an_object_without_age_that_goes_away_is_waited_for() -> None:
    going = world.a_job(deletionTimestamp=world.time(500), creationTimestamp=None)
    decision = world.decide(world.a_look(job=going))
    assert world.said(decision.status, "Ready") == (
        "Unknown",
        "JobTerminating",
        "Job vdr-1 is still being deleted; the run goes on when it is gone.",
    )


def test_a_job_for_an_older_spec_is_replaced() -> None:
    """The spec changed between making the Job and writing the status."""
    job = world.a_job(spec=world.changed(world.SPEC, "training", {"seed": 7}))
    look = world.a_look(job=job, config=world.a_config())
    decision = world.decide(look)
    assert [d.name for d in decision.delete] == ["vdr-1"]
    assert world.said(decision.status, "Reconciling") == (
        "True",
        "SpecChanged",
        "Job vdr-1 was made for an earlier spec and is being replaced.",
    )
    assert world.all_objects(world.decide(world.applied(look, decision)).create) == ["Job/vdr-1"]


def test_a_job_for_an_older_spec_that_goes_already_is_not_deleted_again() -> None:
    job = world.a_job(annotations={}, deletionTimestamp=world.time(1))
    assert world.decide(world.a_look(job=job)).delete == ()


def test_a_config_map_of_an_older_spec_is_replaced_before_the_job_is_made() -> None:
    config = world.a_config(world.changed(world.SPEC, "limits", {"retries": 1}))
    look = world.a_look(config=config)
    decision = world.decide(look)
    assert [(d.kind, d.name) for d in decision.delete] == [("ConfigMap", "vdr-1")]
    assert world.said(decision.status, "Reconciling") == (
        "True",
        "Starting",
        "Job vdr-1 was made; its pod comes up.",
    )
    assert world.all_objects(world.decide(world.applied(look, decision)).create) == [
        "ConfigMap/vdr-1",
        "Job/vdr-1",
    ]


def test_a_config_map_of_this_spec_is_used() -> None:
    decision = world.decide(world.a_look(config=world.a_config()))
    assert world.all_objects(decision.create) == ["Job/vdr-1"]


def test_a_job_that_vanished_in_the_middle_is_made_again_for_the_same_run() -> None:
    look = world.a_look(world.started(), config=world.a_config())
    decision = world.decide(look)
    assert world.all_objects(decision.create) == ["Job/vdr-1"]
    assert (decision.status["run"]["number"], decision.status["run"]["startTime"]) == (1, world.time(0))
    words = (
        "True",
        "JobRecreated",
        (
            "Job vdr-1 was gone in the middle of the run and was made again: the run starts over,"
            " as its progress is lost without spec.runtime.checkpoints."
        ),
    )
    assert world.said(decision.status, "Reconciling") == words
    assert world.said(world.decide(world.applied(look, decision)).status, "Reconciling") == words


def test_a_config_map_that_vanished_under_a_job_is_made_again() -> None:
    decision = world.decide(world.a_look(world.started(), job=world.a_job()))
    assert world.all_objects(decision.create) == ["ConfigMap/vdr-1"]


def test_an_invalid_spec_stalls_with_the_fields_and_the_next_step() -> None:
    spec = world.changed(world.changed(world.SPEC, "training", {"epochs": "-1"}), "loss", {"args": []})
    spec = world.changed(world.changed(spec, "limits", {"retries": -1}), "data.train", [{"name": "pages"}])
    decision = world.decide(world.a_look(world.a_finetune(spec)))
    assert decision.create == ()
    assert world.said(decision.status, "Stalled") == (
        "True",
        "InvalidSpec",
        (
            "The spec is not valid: spec.data.train[0].uri: Field required;"
            " spec.data.train[0].columns: Field required;"
            " spec.loss.args: Input should be a valid dictionary (and 2 more)."
            " You: correct it and apply it again."
        ),
    )


MISSPELT = world.changed(world.SPEC, "loss", {"args": {"scal": 20}})


def test_arguments_that_the_trainer_would_refuse_stall_before_a_job_is_made() -> None:
    decision = world.decide(world.a_look(world.a_finetune(MISSPELT)))
    assert decision.create == ()
    assert world.said(decision.status, "Stalled") == (
        "True",
        "InvalidSpec",
        (
            "The spec is not valid: `loss.args.scal` is no argument of CachedMultipleNegativesRankingLoss"
            " (did you mean 'scale'?). You: correct it and apply it again."
        ),
    )


def test_another_image_may_have_another_library() -> None:
    spec = world.changed(MISSPELT, "runtime", {"image": "trainer:2"})
    assert world.decide(world.a_look(world.a_finetune(spec))).create


def test_a_run_stays_when_an_upgrade_would_no_longer_take_its_arguments() -> None:
    finetune = world.started()
    finetune["spec"], finetune["status"]["run"]["specHash"] = MISSPELT, world.hash_of(MISSPELT)
    look = world.a_look(finetune, job=world.a_job(spec=MISSPELT), config=world.a_config())
    assert world.said(world.decide(look).status, "Stalled") is None


def test_code_of_a_model_stalls_before_a_job_is_made_unless_it_is_allowed() -> None:
    trusting = world.changed(world.SPEC, "model", {**world.SPEC["model"], "trustRemoteCode": True})
    decision = world.decide(world.a_look(world.a_finetune(trusting)))
    assert decision.create == ()
    (status, reason, message) = world.said(decision.status, "Stalled") or ("", "", "")
    assert (status, reason) == ("True", "RemoteCodeNotAllowed")
    assert "allowRemoteCode" in message
    allowing = world.SETTINGS.model_copy(update={"allow_remote_code": True})
    assert world.decide(world.a_look(world.a_finetune(trusting)), allowing).create


def test_an_invalid_change_leaves_what_was_published_and_judged() -> None:
    finetune = world.concluded(world.a_report())
    broken = world.edited(finetune, world.changed(world.SPEC, "training", {"epochs": "-1"}))
    stalled = world.decide(world.a_look(broken)).status
    assert world.verdicts(stalled, "Stalled", "Ready", "GatePassed", "Published") == [
        "True",
        "False",
        "True",
        "True",
    ]
    mended = world.edited({**broken, "status": stalled}, world.SPEC)
    decision = world.decide(world.a_look(mended, job=world.complete(world.a_job()), config=world.a_config()))
    assert (decision.create, decision.delete, decision.status["run"]["number"]) == ((), (), 1)
    assert world.verdicts(decision.status, "Stalled", "Ready") == [None, "True"]


def test_what_the_cluster_calls_invalid_stalls() -> None:
    refusal = Stalled("InvalidManifest", "The cluster refused Job vdr-1: requests must not be above limits")
    decision = world.decide(world.a_look(refusal=refusal))
    assert (decision.create, decision.requeue_after_seconds) == ((), None)
    assert world.said(decision.status, "Stalled") == ("True", refusal.reason, refusal.message)


def test_what_the_cluster_refuses_for_now_is_tried_again() -> None:
    refusal = Waiting("QuotaExceeded", "The cluster refused Job vdr-1: exceeded quota", 30.0)
    decision = world.decide(world.a_look(refusal=refusal))
    assert decision.requeue_after_seconds == 30.0
    assert world.said(decision.status, "Reconciling") == ("True", "QuotaExceeded", refusal.message)
    assert "run" not in decision.status


def test_what_the_cluster_refuses_for_too_long_stalls() -> None:
    look = world.a_look(refusal=Waiting("QuotaExceeded", "No room for Job vdr-1.", 30.0), now=world.at(0))
    waiting = world.a_finetune(status=world.decide(look).status)
    late = world.decide(replace(look, finetune=waiting, now=world.at(3600)))
    assert world.said(late.status, "Stalled") == (
        "True",
        "QuotaExceeded",
        "No room for Job vdr-1. It did not change within 3600 s (spec.limits.pendingSeconds).",
    )


def test_a_run_that_had_begun_waits_for_as_long_as_it_takes() -> None:
    going = world.a_job(deletionTimestamp=world.time(1))
    decision = world.decide(world.a_look(world.started(), job=going, now=world.at(100_000)))
    assert world.verdicts(decision.status, "Reconciling") == ["True"]


def test_a_finetune_that_is_being_deleted_is_left_alone() -> None:
    finetune = world.started(deletionTimestamp=world.time(5))
    decision = world.decide(world.a_look(finetune))
    assert (decision.status, decision.create, decision.delete) == (finetune["status"], (), ())


def test_a_settled_finetune_is_left_alone_whatever_became_of_its_job() -> None:
    finetune = world.concluded(world.a_report())
    decision = world.decide(world.a_look(finetune))
    assert (decision.status, decision.create, decision.delete) == (finetune["status"], (), ())


def test_a_status_that_somebody_broke_is_mended() -> None:
    broken = {**world.started()["status"], "progress": {"percent": "many"}, "colour": "red"}
    look = world.a_look(world.a_finetune(status=broken), job=world.a_job(), config=world.a_config())
    decision = world.decide(replace(look, pods=(world.a_running_pod(),)))
    assert (decision.status["run"]["number"], decision.status["phase"]) == (1, "Starting")
