"""Settings from the environment."""

import pytest
from pydantic import ValidationError

from finetune_operator.settings import Settings


@pytest.fixture(autouse=True)
def _required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINETUNE_NAMESPACE", "ops")
    monkeypatch.setenv("FINETUNE_TRAINER_IMAGE", "trainer@sha256:0")


def test_the_report_url_is_that_of_the_service_in_the_operators_namespace() -> None:
    assert Settings().report_url == "https://embedding-finetune-operator-reports.ops.svc:8443"


def test_namespaces_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINETUNE_WATCH_NAMESPACES", "a, b,")
    assert Settings().watch_namespaces == ("a", "b")


def test_trainers_get_variables_from_a_json_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINETUNE_TRAINER_ENVIRONMENT", '{"HF_ENDPOINT": "https://hub.example.com"}')
    assert Settings().trainer_environment == {"HF_ENDPOINT": "https://hub.example.com"}


@pytest.mark.parametrize(
    "name", ["KUBEFLOW_TRAINER_SERVER_URL", "FINETUNE_IMAGE", "DISABLE_KUBEFLOW_INTEGRATION"]
)
def test_variables_that_tell_a_trainer_its_run_cannot_be_set(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("FINETUNE_TRAINER_ENVIRONMENT", f'{{"{name}": "x"}}')
    with pytest.raises(ValidationError, match=f"must not set {name}"):
        Settings()


def test_a_deadline_beyond_the_leases_duration_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINETUNE_LEASE_DEADLINE_SECONDS", "15")
    with pytest.raises(ValidationError, match="two leaders may act"):
        Settings()


@pytest.mark.parametrize("name", ["FINETUNE_NAMESPACE", "FINETUNE_TRAINER_IMAGE"])
def test_what_depends_on_the_cluster_must_be_set(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv(name)
    with pytest.raises(ValidationError, match="Field required"):
        Settings()


def test_every_setting_is_described() -> None:
    assert all(setting.description for setting in Settings.model_fields.values())
