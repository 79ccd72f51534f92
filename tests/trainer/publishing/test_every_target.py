"""What holds for every kind of target; what only one kind has is in the files beside this one."""

import json

import pytest

from finetune_api.model import Model
from finetune_trainer.digests import model_digest
from finetune_trainer.errors import (
    InvalidModel,
    NoAccess,
    SourceUnavailable,
    StorageFailed,
    TargetInUse,
    TrainerError,
)
from finetune_trainer.publishing import (
    find_published,
    local_report,
    open_target,
    publish,
    published_model,
    target_of,
    versions,
)
from finetune_trainer.sources.fetch import fetch_model
from tests.trainer.publishing.places import (
    SECRET,
    Killed,
    Place,
    extras,
    opened,
    published,
    run_file,
    saved_model,
)
from tests.trainer.servers import registry, s3

# Of the older of the hub's two upload protocols, which its client speaks to the hub of the tests.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

FOREIGN = {"namespace": "team", "name": "other", "uri": "x", "digest": "y", "uid": "z", "run": 1}


def name_of(place: Place) -> str:
    return str(place.latest()["uri"]).replace("@", "/").replace(":", "/").rpartition("/")[2]


def test_a_version_is_named_by_run_and_digest_and_latest_points_to_it(place: Place) -> None:
    artifact = published(place)
    digest = model_digest(saved_model(place.places))
    name = f"1-{digest.removeprefix('sha256:')[:12]}"
    assert place.names() == {name}
    assert artifact.report == f"{artifact.uri}/report.json"
    latest = place.latest()
    assert latest.pop("uri") in {f"{place.uri}/{name}", f"{place.uri}@{name}", f"{place.uri}:{name}"}
    assert latest == {"digest": digest, "namespace": "team", "name": "search", "uid": "u-1", "run": 1}
    files = place.files(name)
    assert files["model.safetensors"] == b"weights"
    assert files["1_Pooling/config.json"] == b"{}"
    assert files["README.md"] == b"# model\n"
    assert json.loads(files["report.json"])["report"]["artifact"]["digest"] == digest


def test_a_published_version_can_be_tuned_on(place: Place) -> None:
    artifact = published(place)
    model = {"uri": artifact.uri, **({"secretRef": {"name": place.secret}} if place.secret else {})}
    fetched = fetch_model(Model.model_validate(model), place.places)
    assert model_digest(fetched.path) == artifact.digest


def test_nothing_is_written_before_a_target_is_opened(place: Place) -> None:
    target = target_of(run_file(place), place.places)
    assert target is not None
    assert versions(target) == []
    assert place.latest() is None


def test_a_pickle_is_never_published(place: Place) -> None:
    target = opened(place)
    model = saved_model(place.places)
    (model / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(InvalidModel, match=r"as safetensors, found pytorch_model\.bin"):
        publish(target, model, extras(target))
    assert place.names() == set()


def test_the_target_of_another_finetune_is_refused_before_anything_is_written(place: Place) -> None:
    published(place, name="other")
    before, latest = place.names(), place.latest()
    with pytest.raises(TargetInUse, match="team/other"):
        open_target(run_file(place), place.places)
    assert (place.names(), place.latest()) == (before, latest)


def test_of_two_finetunes_with_one_empty_target_only_the_first_publishes(place: Place) -> None:
    slow = opened(place, name="slow")
    published(place, name="quick")
    before, latest = place.names(), place.latest()
    with pytest.raises(TargetInUse, match="team/quick"):
        publish(slow, saved_model(place.places, "other"), extras(slow))
    assert (place.names(), place.latest()) == (before, latest)


def test_a_latest_that_appears_at_the_last_moment_is_not_overwritten(place: Place) -> None:
    target = opened(place)
    with place.meanwhile(json.dumps(FOREIGN)), pytest.raises(TargetInUse, match="team/other"):
        publish(target, saved_model(place.places), extras(target))
    assert place.latest() == FOREIGN
    assert place.names() == set()


def test_a_latest_that_is_not_ours_is_left_alone(place: Place) -> None:
    place.put_latest("[1]")
    with pytest.raises(TargetInUse, match="something else"):
        open_target(run_file(place), place.places)
    assert place.latest() == [1]


def test_a_read_only_target_is_told_before_training(place: Place) -> None:
    with place.read_only(), pytest.raises((StorageFailed, NoAccess)) as told:
        opened(place)
    assert place.uri in told.value.message or "models" in told.value.message
    assert told.value.hint


def test_a_full_target_is_told_and_leaves_the_published_version_alone(place: Place) -> None:
    published(place, "first", run=1)
    before, latest = place.names(), place.latest()
    target = opened(place, run=2)
    # Only disks and hubs say that it is for want of room.
    with place.full(), pytest.raises((StorageFailed, SourceUnavailable)) as told:
        publish(target, saved_model(place.places, "second"), extras(target))
    assert told.value.as_failure().retryable
    assert (place.names(), place.latest()) == (before, latest)
    assert [v.run for v in versions(opened(place))] == [1]


def test_missing_credentials_are_told_before_training(place: Place) -> None:
    if place.secret is None:
        return
    for key in (place.places.secrets / place.secret).iterdir():
        key.unlink()
    with pytest.raises(NoAccess, match=f"of Secret '{place.secret}'") as told:
        opened(place)
    assert told.value.hint


def test_no_message_has_a_secret(place: Place) -> None:
    published(place, name="other")
    target = opened(place, name="other", run=2)
    told = []
    for broken in (place.read_only, place.full):
        with broken(), pytest.raises(TrainerError) as error:
            publish(target, saved_model(place.places, "second"), extras(target))
        told.append(error.value)
    with pytest.raises(TrainerError) as error:
        opened(place)
    for one in (*told, error.value):
        text = f"{one.message} {one.hint} {one.as_failure().to_dict()}"
        assert not [word for word in (SECRET, s3.SECRET, registry.PASSWORD) if word in text]


def test_older_versions_beyond_keep_are_removed(place: Place) -> None:
    for run in range(1, 5):
        published(place, f"w{run}", run=run)
    kept = versions(opened(place))
    assert [v.run for v in kept] == [3, 4]
    assert place.names() == {v.name for v in kept}
    published(place, "w5", run=5, keep=0)
    assert [v.run for v in versions(opened(place))] == [5]


def test_a_published_run_is_found_and_told_again(place: Place) -> None:
    artifact = published(place)
    report = find_published(opened(place))
    assert report is not None
    assert report.artifact == artifact
    assert find_published(opened(place, run=2)) is None
    assert find_published(opened(place, uid="u-2")) is None


def test_an_old_run_told_again_does_not_move_latest_back(place: Place) -> None:
    published(place, "old", run=1)
    published(place, "new", run=2)
    newest = place.latest()
    assert find_published(opened(place, run=1)) is not None
    assert place.latest() == newest


def test_an_old_run_does_not_publish_over_a_later_one(place: Place) -> None:
    late = opened(place, run=1)
    published(place, "new", run=2)
    before, latest = place.names(), place.latest()
    with pytest.raises(TargetInUse, match="must not have a later run than 1"):
        publish(late, saved_model(place.places, "old"), extras(late))
    assert (place.names(), place.latest()) == (before, latest)


def test_a_finetune_made_again_does_not_touch_the_version_of_its_forerunner(place: Place) -> None:
    published(place, uid="u-1")
    old = name_of(place)
    published(place, uid="u-2")
    assert name_of(place) == f"{old}-u2"
    assert {v.uid for v in versions(opened(place))} == {"u-1", "u-2"}
    assert place.names() == {old, f"{old}-u2"}


def test_the_published_model_is_the_one_that_latest_names(place: Place) -> None:
    assert published_model(opened(place)) is None
    published(place, "one", run=1)
    published(place, "two", run=2)
    folder = published_model(opened(place, run=3))
    assert folder is not None
    assert (folder / "model.safetensors").read_text() == "two"


def test_a_published_model_that_is_not_what_latest_says_is_not_used(place: Place) -> None:
    published(place)
    place.put_latest(json.dumps({**place.latest(), "digest": "sha256:0"}))
    with pytest.raises(InvalidModel, match="must have digest sha256:0"):
        published_model(opened(place, run=2))


def test_the_full_report_is_found_on_this_machine(place: Place) -> None:
    artifact = published(place)
    report = local_report(opened(place), artifact)
    assert report is not None
    assert json.loads(report.read_text())["report"]["artifact"]["digest"] == artifact.digest
    assert local_report(opened(place), artifact.model_copy(update={"uri": f"{place.uri}/9"})) is None


def assert_readers_see_whole_versions(place: Place) -> None:
    contents = {model_digest(saved_model(place.places, c)): c.encode() for c in ("one", "two", "three")}
    if (latest := place.latest()) is not None:
        files = place.files(name_of(place))
        if files or not place.uri.startswith("hf://"):
            assert files["model.safetensors"] == contents[latest["digest"]]
    for version in place.names():
        files = place.files(version)
        assert json.loads(files["report.json"])["report"]["outcome"] == "Succeeded"
        assert files["1_Pooling/config.json"] == b"{}"
        assert files["model.safetensors"] in contents.values()
        assert files["README.md"] == b"# model\n"


def attempt(place: Place, content: str, run: int) -> None:
    target = opened(place, run=run)
    if find_published(target) is None:
        publish(target, saved_model(place.places, content), extras(target))


def test_killed_before_any_write_readers_see_whole_versions_and_the_next_attempt_ends_well(
    often_killed_place: Place,
) -> None:
    """Run 3 replaces 2 and prunes 1; killed before its n-th operation, then tried again, for every n."""
    place, kills = often_killed_place, 0
    for operation in range(1, 500):
        place.fresh()
        attempt(place, "one", 1)
        attempt(place, "two", 2)
        second = name_of(place)
        saved_model(place.places, "three")
        try:
            with place.killed(operation):
                attempt(place, "three", 3)
            break
        except (Killed, TrainerError):
            kills += 1
        assert_readers_see_whole_versions(place)
        assert place.latest()["run"] in {2, 3}
        attempt(place, "three", 3)
        again = find_published(opened(place, run=3))
        assert again is not None
        assert again.artifact is not None
        assert place.latest()["digest"] == again.artifact.digest
        assert place.names() == {second, name_of(place)}
    assert kills >= 4


def test_killed_at_any_write_of_a_first_publication_readers_see_whole_versions(
    killed_place: Place,
) -> None:
    place, kills = killed_place, 0
    for operation in range(1, 500):
        place.fresh()
        saved_model(place.places, "one")
        try:
            with place.killed(operation):
                attempt(place, "one", 1)
            break
        except (Killed, TrainerError):
            kills += 1
        assert_readers_see_whole_versions(place)
        attempt(place, "one", 1)
        assert place.names() == {name_of(place)}
    assert kills >= 4
