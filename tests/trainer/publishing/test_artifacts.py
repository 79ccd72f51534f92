import json
from http import HTTPStatus

import pytest

from finetune_trainer.errors import TargetInUse
from finetune_trainer.publishing import open_target, versions
from finetune_trainer.sources.artifacts import ARTIFACT_TYPE
from tests.trainer.publishing.places import RegistryRepository, opened, published, run_file


def test_the_artifact_is_a_digest_that_the_tag_and_latest_name(oci_repository: RegistryRepository) -> None:
    artifact = published(oci_repository)
    (name,) = oci_repository.names()
    for tag in (name, "latest"):
        manifest = oci_repository.repository.manifest(tag)
        assert manifest is not None
        assert artifact.uri == f"{oci_repository.uri}@{manifest.digest}"
    content = oci_repository.repository._manifest_bytes(name)
    assert json.loads(content or b"")["artifactType"] == ARTIFACT_TYPE


def test_a_registry_that_deletes_nothing_is_noted_and_published_to(
    oci_repository: RegistryRepository, caplog: pytest.LogCaptureFixture
) -> None:
    oci_repository.wire.undeletable = HTTPStatus.METHOD_NOT_ALLOWED
    for run in (1, 2, 3):
        published(oci_repository, f"w{run}", run=run)
    assert [v.run for v in versions(opened(oci_repository))] == [1, 2, 3]
    assert oci_repository.latest()["run"] == 3
    assert "stays, since the registry does not delete it" in caplog.text


def test_a_repository_with_a_latest_of_somebody_else_is_refused(oci_repository: RegistryRepository) -> None:
    oci_repository.repository.push({"a.json": b"{}"}, tag="latest")
    with pytest.raises(TargetInUse, match="something else"):
        open_target(run_file(oci_repository), oci_repository.places)
