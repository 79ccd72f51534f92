"""Targets of every kind, empty, for each test anew."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import pytest
from _pytest.mark import ParameterSet
from huggingface_hub import constants
from huggingface_hub.utils import _http as hub_http

from finetune_trainer.places import Places
from tests.trainer.local_hub import Hub, running
from tests.trainer.publishing.places import SECRET, Bucket, HubRepository, Place, RegistryRepository, Volume
from tests.trainer.servers.faults import running_faults
from tests.trainer.servers.gcs import Gcs
from tests.trainer.servers.programs import write_secret
from tests.trainer.servers.registry import Registry
from tests.trainer.servers.s3 import S3


@pytest.fixture
def places(tmp_path: Path) -> Places:
    for name in ("volumes/models", "work", "secrets/hub"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "secrets" / "hub" / "token").write_text(SECRET)
    volumes = {"models": tmp_path / "volumes" / "models"}
    return Places(volumes=volumes, secrets=tmp_path / "secrets", work=tmp_path / "work")


@pytest.fixture
def volume(places: Places) -> Volume:
    return Volume(places)


@pytest.fixture
def hub_place(places: Places, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubRepository]:
    with running(Hub(token=SECRET)) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
        # The hub of the tests speaks the older of the client's two upload protocols.
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(hub_http, "time", SimpleNamespace(sleep=lambda _seconds: None, time=time.time))
        yield HubRepository(places, hub)


@pytest.fixture
def no_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials of whoever runs the tests."""
    for name in [n for n in os.environ if n.startswith(("AWS_", "GOOGLE_", "STORAGE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NO_GCE_CHECK", "true")


@pytest.fixture
def s3_bucket(places: Places, s3: S3, no_cloud: None, pauses: list[float]) -> Iterator[Bucket]:
    with running_faults(s3.endpoint) as faults:
        write_secret(places.secrets / "store", s3.keys(AWS_ENDPOINT_URL=faults.url))
        yield Bucket(places, "s3", s3.make(), faults)


@pytest.fixture
def gs_bucket(
    places: Places, gcs: Gcs, no_cloud: None, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bucket]:
    with running_faults(gcs.endpoint) as faults:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", faults.url)
        yield Bucket(places, "gs", gcs.make(), faults)


@pytest.fixture
def oci_repository(places: Places, registry: Registry, pauses: list[float]) -> Iterator[RegistryRepository]:
    with running_faults(f"http://{registry.host}") as faults:
        write_secret(places.secrets / "docker", registry.keys(host=faults.host))
        yield RegistryRepository(places, f"team-{uuid4().hex[:12]}", faults)


@pytest.fixture(params=["volume", "s3_bucket", "gs_bucket", "oci_repository", "hub_place"])
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(request.param)
    return found


def _slow(*names: str) -> list[ParameterSet]:
    return [pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.fixture(params=["volume", "hub_place", "gs_bucket", *_slow("s3_bucket", "oci_repository")])
def killed_place(request: pytest.FixtureRequest) -> Place:
    """For a test that publishes some dozens of times."""
    found: Place = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=["volume", "hub_place", *_slow("gs_bucket", "s3_bucket", "oci_repository")])
def often_killed_place(request: pytest.FixtureRequest) -> Place:
    """For a test that publishes a hundred times."""
    found: Place = request.getfixturevalue(request.param)
    return found
