import pytest

from finetune_trainer.errors import NoAccess
from finetune_trainer.publishing import find_published, publish
from finetune_trainer.publishing.objects import OWNER
from tests.trainer.publishing.places import Bucket, extras, opened, published, saved_model


def left_unfinished(bucket: Bucket, name: str) -> None:
    """What an attempt of this finetune leaves when it is killed before its report is there."""
    target = opened(bucket, name=name)
    with bucket.killed(4), pytest.raises(NoAccess):
        publish(target, saved_model(bucket.places, name), extras(target))


def test_what_an_attempt_left_is_removed_by_the_next_and_by_nobody_else(gs_bucket: Bucket) -> None:
    left_unfinished(gs_bucket, "mine")
    left_unfinished(gs_bucket, "other")
    assert len(gs_bucket.begun()) == 2
    assert gs_bucket.names() == set()
    opened(gs_bucket, name="mine")
    (stays,) = gs_bucket.begun()
    assert gs_bucket.files(stays)[OWNER] == b'{"namespace": "team", "name": "other"}'


def test_the_note_of_the_owner_is_no_part_of_the_model(gs_bucket: Bucket) -> None:
    artifact = published(gs_bucket)
    report = find_published(opened(gs_bucket))
    assert report is not None
    assert report.artifact == artifact
    assert OWNER in gs_bucket.files(artifact.uri.rpartition("/")[2])


def test_objects_of_other_people_stay(gs_bucket: Bucket) -> None:
    gs_bucket.put("notes.txt", b"mine")
    gs_bucket.put("7-0123456789ab/a.json", b"{}")
    for run in (1, 2, 3):
        published(gs_bucket, f"w{run}", run=run)
    assert "7-0123456789ab" in gs_bucket.begun()
    assert gs_bucket.files("notes.txt") == {"notes.txt": b"mine"}
