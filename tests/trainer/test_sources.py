import errno
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub.utils import _http as hub_http

from finetune_api.fields import SecretRef
from finetune_api.model import Model
from finetune_api.tables import TableSource
from finetune_trainer.data.loading import load_training_data
from finetune_trainer.digests import model_digest
from finetune_trainer.errors import InvalidData, InvalidSpec, NoAccess, SourceUnavailable, StorageFailed
from finetune_trainer.places import Places
from finetune_trainer.sources.fetch import Fetched, fetch_model, fetch_table
from finetune_trainer.storage import storage_errors
from tests.trainer.builders import a_spec, write_jsonl, write_page
from tests.trainer.local_hub import COMMIT, Hub, running
from tests.trainer.servers.faults import Fault, running_faults

MODEL = f"hf://owner/model@{COMMIT}"
DATASET = f"hf://owner/pages@{COMMIT}"


@pytest.fixture(autouse=True)
def no_pause_between_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's client tries five times over 23 seconds; the tests need the attempts, not the seconds."""
    monkeypatch.setattr(hub_http, "time", SimpleNamespace(sleep=lambda _seconds: None, time=time.time))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    files = {
        "models/owner/model": {
            "model.safetensors": b"weights",
            "config.json": b"{}",
            "1_Pooling/config.json": b"{}",
            "pytorch_model.bin": b"a pickle",
            "onnx/model.json": b"{}",
        },
        "datasets/owner/pages": {
            "README.md": b"---\nconfigs:\n- data_files:\n  - {split: dev, path: data/dev.jsonl}\n---\n",
            "data/dev.jsonl": b'{"q": "who", "p": "ann"}\n',
            "data/train.jsonl": b'{"q": "whom", "p": "bob"}\n',
            "script.py": b"raise SystemExit",
        },
    }
    with running(Hub(files)) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        # The client would otherwise send the token of whoever runs the tests.
        monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
        yield hub


def secret(places: Places, token: str) -> SecretRef:
    folder = places.secrets / "hub"
    folder.mkdir(parents=True)
    (folder / "token").write_text(token + "\n")
    return SecretRef(name="hub")


def fetches(places: Places, reference: SecretRef | None = None) -> list[Callable[[], Fetched]]:
    """A model and a table from the hub."""
    return [
        lambda: fetch_model(Model(uri=MODEL, secret_ref=reference), places),
        lambda: fetch_table(TableSource(uri=DATASET, secret_ref=reference), places),
    ]


# pvc://


def test_a_model_on_a_volume_is_its_folder_and_its_digest(places: Places) -> None:
    folder = places.volume("models") / "base"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    fetched = fetch_model(Model(uri="pvc://models/base"), places)
    assert fetched.path == folder
    assert fetched.revision == model_digest(folder)


def test_a_readme_does_not_change_the_digest_of_a_model_but_a_file_name_does(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    before = model_digest(tmp_path)
    (tmp_path / "README.md").write_text("# Model")
    assert model_digest(tmp_path) == before
    (tmp_path / "config.json").rename(tmp_path / "other.json")
    assert model_digest(tmp_path) != before


def test_a_volume_without_a_folder_is_named(places: Places) -> None:
    with pytest.raises(InvalidSpec) as raised:
        fetch_table(TableSource(uri="pvc://nowhere/train.csv"), places)
    assert raised.value.reason == "VolumeMissing"
    assert "'nowhere'" in raised.value.message


def test_volumes_can_be_given_one_by_one(tmp_path: Path) -> None:
    places = Places(volumes={"data": tmp_path}, secrets=tmp_path, work=tmp_path)
    assert places.volume("data") == tmp_path
    with pytest.raises(InvalidSpec, match="found data"):
        places.volume("other")


def test_a_missing_path_is_named_with_what_is_there(places: Places) -> None:
    write_jsonl(places.volume("data") / "sets" / "train.jsonl", [{"q": "a"}])
    with pytest.raises(InvalidSpec) as raised:
        fetch_table(TableSource(uri="pvc://data/sets/trian.jsonl"), places)
    assert raised.value.reason == "PathMissing"
    assert raised.value.message == "pvc://data/sets/trian.jsonl does not exist; sets holds train.jsonl"


@pytest.mark.parametrize("uri", ["pvc://data/link", "pvc://data/link/secret.csv", "pvc://data/file.csv"])
def test_links_that_lead_out_of_a_volume_are_refused(places: Places, tmp_path: Path, uri: str) -> None:
    (tmp_path / "secret.csv").write_text("q,p\na,b\n")
    (places.volume("data") / "link").symlink_to(tmp_path)
    (places.volume("data") / "file.csv").symlink_to(tmp_path / "secret.csv")
    with pytest.raises(InvalidSpec) as raised:
        fetch_table(TableSource(uri=uri), places)
    assert raised.value.reason == "PathEscapes"


def test_links_inside_a_volume_are_followed(places: Places) -> None:
    data = places.volume("data")
    write_jsonl(data / "real.jsonl", [{"q": "a"}])
    (data / "train.jsonl").symlink_to("real.jsonl")
    assert fetch_table(TableSource(uri="pvc://data/train.jsonl"), places).files[0].name == "real.jsonl"


def test_a_file_has_no_splits(places: Places) -> None:
    write_jsonl(places.volume("data") / "train.jsonl", [{"q": "a"}])
    with pytest.raises(InvalidSpec) as raised:
        fetch_table(TableSource(uri="pvc://data/train.jsonl", split="train"), places)
    assert raised.value.reason == "SplitOfFile"


def test_an_unknown_format_is_named(places: Places) -> None:
    (places.volume("data") / "train.xlsx").touch()
    with pytest.raises(InvalidData) as raised:
        fetch_table(TableSource(uri="pvc://data/train.xlsx"), places)
    assert raised.value.reason == "UnknownFormat"
    assert "found '.xlsx'" in raised.value.message


# hf://


def test_of_a_model_only_weights_and_settings_come_never_pickles(places: Places, hub: Hub) -> None:
    fetched = fetch_model(Model(uri=MODEL), places)
    names = {p.relative_to(fetched.path).as_posix() for p in fetched.path.rglob("*") if p.is_file()}
    assert names == {"model.safetensors", "config.json", "1_Pooling/config.json"}
    assert fetched.revision == COMMIT
    assert fetched.path.is_relative_to(places.work)


def test_of_a_dataset_only_the_split_comes(places: Places, hub: Hub) -> None:
    fetched = fetch_table(TableSource(uri=DATASET, split="dev"), places)
    assert [f.read_bytes() for f in fetched.files] == [b'{"q": "who", "p": "ann"}\n']
    assert not any("train" in r or "script" in r for r in hub.requests)


def test_a_dataset_without_a_card_goes_by_the_names_of_its_files(places: Places, hub: Hub) -> None:
    del hub.files["datasets/owner/pages"]["README.md"]
    assert fetch_table(TableSource(uri=DATASET, split="train"), places).files[0].name == "train.jsonl"


def test_a_subset_is_a_folder_when_there_is_no_card(places: Places, hub: Hub) -> None:
    hub.files["datasets/owner/pages"] = {"de/train.jsonl": b"{}\n", "en/train.jsonl": b"{}\n"}
    fetched = fetch_table(TableSource(uri=DATASET, subset="en", split="train"), places)
    assert fetched.files[0].parts[-2:] == ("en", "train.jsonl")


def test_images_that_a_table_names_come_with_it(places: Places, hub: Hub, tmp_path: Path) -> None:
    page = write_page(tmp_path / "page.png", "page").read_bytes()
    hub.files["datasets/owner/pages"] = {
        "train/metadata.csv": b"file_name,q\na.png,what\n",
        "train/a.png": page,
    }
    train = {"uri": DATASET, "split": "train", "columns": {"query": "q", "positive": "image"}}
    assert load_training_data(a_spec(train=train), places).sets[0].rows[0]["positive"].size == (64, 64)


def test_the_token_of_the_secret_opens_a_private_repository(places: Places, hub: Hub) -> None:
    hub.token = "hf_right"
    fetched = fetch_model(Model(uri=MODEL, secret_ref=secret(places, "hf_right")), places)
    assert (fetched.path / "config.json").exists()


@pytest.mark.parametrize("token", [None, "hf_wrong"])
def test_a_private_repository_without_the_right_token_is_no_access(
    places: Places, hub: Hub, token: str | None
) -> None:
    hub.token = "hf_right"
    reference = secret(places, token) if token else None
    for fetch in fetches(places, reference):
        with pytest.raises(NoAccess) as raised:
            fetch()
        assert raised.value.reason == "HubRefused"
        assert "owner/" in raised.value.message
        assert "hf_" not in f"{raised.value}{raised.value.hint}"


def test_a_missing_secret_is_named(places: Places, hub: Hub) -> None:
    with pytest.raises(NoAccess) as raised:
        fetch_model(Model(uri=MODEL, secret_ref=SecretRef(name="absent")), places)
    assert raised.value.reason == "SecretMissing"
    assert "'absent'" in raised.value.message


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        (f"hf://owner/absent@{COMMIT}", "RepositoryMissing"),
        (f"hf://owner/model@{'f' * 40}", "RevisionMissing"),
    ],
)
def test_a_missing_repository_or_revision_is_named(places: Places, hub: Hub, uri: str, reason: str) -> None:
    with pytest.raises(InvalidSpec) as raised:
        fetch_model(Model(uri=uri), places)
    assert raised.value.reason == reason
    assert uri in raised.value.message


@pytest.mark.parametrize("status", [403, 429, 500, 503])
def test_a_hub_that_refuses_or_fails_is_told_apart(
    places: Places, hub: Hub, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.broken = status
    expected = NoAccess if status == 403 else SourceUnavailable
    for fetch in fetches(places):
        with pytest.raises(expected):
            fetch()


def test_a_hub_that_does_not_answer_is_unavailable(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(Hub()) as gone:
        monkeypatch.setenv("HF_ENDPOINT", gone.url)
    for fetch in fetches(places):
        with pytest.raises(SourceUnavailable):
            fetch()


def test_a_model_comes_whole_over_a_network_that_fails(
    places: Places, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.files["models/owner/model"]["model.safetensors"] = weights = bytes(range(256)) * 4000
    with running_faults(hub.url) as faults:
        monkeypatch.setenv("HF_ENDPOINT", faults.url)
        faults.coming.extend([Fault(503), Fault(), Fault(), Fault(), Fault(429), Fault(500)])
        faults.cut = ("model.safetensors", 300_000)
        fetched = fetch_model(Model(uri=MODEL), places)
    assert (fetched.path / "model.safetensors").read_bytes() == weights


def test_a_hub_that_breaks_off_again_and_again_is_unavailable_and_leaves_no_half_file(
    places: Places, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.files["models/owner/model"]["model.safetensors"] = bytes(range(256)) * 4000
    with running_faults(hub.url) as faults:
        monkeypatch.setenv("HF_ENDPOINT", faults.url)
        faults.always = Fault(cut_after=10)
        with pytest.raises(SourceUnavailable) as raised:
            fetch_model(Model(uri=MODEL), places)
    assert raised.value.reason == "HubUnavailable"
    assert not [p for p in places.cache.rglob("*.safetensors") if p.exists()]


def test_weights_that_a_volume_has_spoilt_come_again(places: Places, hub: Hub) -> None:
    fetched = fetch_model(Model(uri=MODEL), places)
    blob = (fetched.path / "model.safetensors").resolve()
    assert len(blob.name) == 64
    blob.write_bytes(b"spoiled")
    fetched = fetch_model(Model(uri=MODEL), places)
    assert (fetched.path / "model.safetensors").read_bytes() == b"weights"


@pytest.mark.parametrize("name", ["../../escaped.json", "a/../../escaped.json", "/etc/escaped.json"])
def test_a_repository_whose_files_would_leave_their_folder_is_refused(
    places: Places, hub: Hub, name: str
) -> None:
    hub.files["models/owner/model"][name] = b"{}"
    hub.files["datasets/owner/pages"] = {"train.jsonl": b"{}", name.replace(".json", ".png"): b""}
    for fetch in fetches(places):
        with pytest.raises(InvalidData) as raised:
            fetch()
        assert raised.value.reason == "UnsafeName"


def test_progress_is_told_in_bytes(places: Places, hub: Hub) -> None:
    told: list[tuple[str, int, int]] = []
    hub.files["models/owner/model"]["model.safetensors"] = weights = bytes(10_000_000)
    fetch_model(Model(uri=MODEL), replace(places, on_transfer=lambda *args: told.append(args)))
    name, done, total = told[-1]
    assert name == "hf://owner/model"
    assert done == total >= len(weights)


# Storage


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_failing_disk_is_told_as_such_wherever_it_is_met(number: int) -> None:
    cause = OSError(number, os.strerror(number), "/work/file")
    with pytest.raises(StorageFailed) as raised, storage_errors("pvc://data/train.csv"):
        raise ValueError("the library's own words") from cause
    assert os.strerror(number) in raised.value.message


def test_other_errors_pass_through_unchanged() -> None:
    with pytest.raises(ValueError, match="as it was"), storage_errors("anything"):
        raise ValueError("as it was")
