"""Targets of every kind, empty, for each test anew."""

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import _http as hub_http

from finetune_trainer.places import Places
from tests.trainer.local_hub import Hub, running
from tests.trainer.publishing.places import SECRET, HubRepository, Place, Volume


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


@pytest.fixture(params=["volume", "hub_place"])
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(request.param)
    return found
