import pytest

from finetune_trainer.errors import NoAccess, TargetInUse
from finetune_trainer.publishing import find_published, open_target, publish, versions
from tests.trainer.publishing.places import (
    HubRepository,
    extras,
    opened,
    published,
    run_file,
    saved_model,
)

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
REPOSITORY = "models/team/search-0"


def test_a_repository_that_is_not_there_is_made_private(hub_place: HubRepository) -> None:
    opened(hub_place)
    assert hub_place.hub.repositories.all[REPOSITORY].private


def test_a_repository_that_is_there_is_used_as_it_is(hub_place: HubRepository) -> None:
    made = hub_place.hub.repositories.made(REPOSITORY, private=False)
    made.commit({**made.commits[made.head], "README.md": b"to come"})
    published(hub_place)
    assert not made.private


def test_the_artifact_is_a_commit_that_was_tagged_and_is_the_main_branch(hub_place: HubRepository) -> None:
    artifact = published(hub_place)
    repository = hub_place.hub.repositories.all[REPOSITORY]
    assert artifact.uri == f"hf://team/search-0@{repository.head}"
    assert list(repository.tags.values()) == [repository.head]
    assert len(repository.commits) == 2  # the one that every repository begins with, and ours


def test_files_of_the_version_before_do_not_stay_on_the_main_branch(hub_place: HubRepository) -> None:
    target = opened(hub_place, run=1)
    model = saved_model(hub_place.places, "sharded")
    (model / "model-00001-of-00002.safetensors").write_text("half")
    publish(target, model, extras(target))
    published(hub_place, "two", run=2)
    repository = hub_place.hub.repositories.all[REPOSITORY]
    assert set(repository.commits[repository.head]) == {
        ".gitattributes", "1_Pooling/config.json", "README.md", "latest.json", "model.safetensors",
        "report.json",
    }  # fmt: skip


def test_a_repository_with_somebodys_model_is_refused(hub_place: HubRepository) -> None:
    made = hub_place.hub.repositories.made(REPOSITORY)
    made.commit({"model.safetensors": b"theirs", "README.md": b"theirs"})
    with pytest.raises(TargetInUse, match=r"must be new, empty, or one of ours, found model\.safetensors"):
        open_target(run_file(hub_place), hub_place.places)


def test_a_commit_that_was_not_tagged_is_tagged_by_the_next_attempt(hub_place: HubRepository) -> None:
    published(hub_place)
    repository = hub_place.hub.repositories.all[REPOSITORY]
    tags = dict(repository.tags)
    repository.tags.clear()
    report = find_published(opened(hub_place))
    assert report is not None
    assert repository.tags == tags


def test_a_hub_that_knows_no_question_about_rights_is_believed(hub_place: HubRepository) -> None:
    hub_place.hub.repositories.knows_auth_check = False
    published(hub_place)
    assert [v.run for v in versions(opened(hub_place))] == [1]


def test_without_a_token_that_may_write_the_next_step_is_told(hub_place: HubRepository) -> None:
    (hub_place.places.secrets / "hub" / "token").write_text("hf_wrong")
    with pytest.raises(NoAccess, match="opening hf://team/search-0: the hub refused") as told:
        opened(hub_place)
    assert "`output.secretRef`" in told.value.hint
    assert "hf_wrong" not in told.value.message
