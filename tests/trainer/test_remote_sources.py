"""Models and tables from buckets, artifacts and ConfigMaps, with their Secrets, through the cache."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from finetune_api.model import Model
from finetune_api.run_file import RunFile
from finetune_api.tables import TableSource
from finetune_api.uris import OciTarget
from finetune_trainer.data.loading import load_training_data
from finetune_trainer.digests import model_digest
from finetune_trainer.errors import InvalidData, InvalidSpec, NoAccess, SourceUnavailable
from finetune_trainer.interruption import StopRequest
from finetune_trainer.pipeline import run_finetune
from finetune_trainer.places import Places
from finetune_trainer.reporters.terminal import Lines
from finetune_trainer.run import Run
from finetune_trainer.sources.fetch import fetch_model, fetch_table, list_files
from finetune_trainer.sources.model_files import read_model_files
from finetune_trainer.sources.registries import open_repository
from tests.trainer.builders import COLUMNS, a_spec, pairs, places_in, write_page
from tests.trainer.servers.faults import Fault, Faults, running_faults
from tests.trainer.servers.gcs import Gcs
from tests.trainer.servers.programs import write_secret
from tests.trainer.servers.registry import Registry
from tests.trainer.servers.s3 import S3

MODEL = {"config.json": b"{}", "model.safetensors": b"weights", "pytorch_model.bin": b"a pickle"}
ROWS = b'{"q": "who", "p": "ann"}\n'
TABLES = {"train/part-0.jsonl": ROWS, "dev.jsonl": ROWS, "train/script.py": b"raise SystemExit"}


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    for name in [n for n in os.environ if n.startswith(("AWS_", "GOOGLE_", "STORAGE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "none"))
    return replace(places_in(tmp_path), config_maps=tmp_path / "configmaps", shared_cache=tmp_path / "cache")


@pytest.fixture
def bucket(s3: S3, places: Places) -> str:
    """A bucket with a model and tables, and the Secret `s3`."""
    name = s3.make()
    s3.put(name, {f"base/{key}": content for key, content in MODEL.items()})
    s3.put(name, {f"tables/{key}": content for key, content in TABLES.items()})
    write_secret(places.secrets / "s3", s3.keys())
    return name


def model(uri: str, secret: str | None) -> Model:
    return Model.model_validate({"uri": uri, **({"secretRef": {"name": secret}} if secret else {})})


def table(uri: str, secret: str | None = None, **more: str) -> TableSource:
    return TableSource.model_validate(
        {"uri": uri, **more, **({"secretRef": {"name": secret}} if secret else {})}
    )


def names_in(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


# s3:// and gs://


def test_of_a_model_in_a_bucket_no_pickle_comes(bucket: str, places: Places) -> None:
    fetched = fetch_model(model(f"s3://{bucket}/base", "s3"), places)
    assert names_in(fetched.path) == {"config.json", "model.safetensors"}
    assert fetched.revision == model_digest(fetched.path)
    assert fetched.path.is_relative_to(places.cache)


@pytest.mark.parametrize("form", ["object", "folder"])
def test_a_table_in_a_bucket_is_an_object_or_in_a_folder(bucket: str, places: Places, form: str) -> None:
    source = (
        table(f"s3://{bucket}/tables/dev.jsonl", "s3")
        if form == "object"
        else table(f"s3://{bucket}/tables", "s3", split="train")
    )
    fetched = fetch_table(source, places)
    assert [f.read_bytes() for f in fetched.files] == [ROWS]
    assert names_in(fetched.root) == {"dev.jsonl" if form == "object" else "train/part-0.jsonl"}


def test_a_table_of_another_cloud_is_read_the_same(
    gcs: Gcs, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs.endpoint)
    name = gcs.make()
    gcs.put(name, {f"tables/{key}": content for key, content in TABLES.items()})
    assert fetch_table(table(f"gs://{name}/tables", split="dev"), places).files[0].read_bytes() == ROWS


def test_images_that_a_table_names_come_with_it(s3: S3, bucket: str, places: Places, tmp_path: Path) -> None:
    page = write_page(tmp_path / "page.png", "page").read_bytes()
    s3.put(bucket, {"pages/train/metadata.csv": b"file_name,q\na.png,what\n", "pages/train/a.png": page})
    train = {
        "uri": f"s3://{bucket}/pages",
        "split": "train",
        "secretRef": {"name": "s3"},
        "columns": {"query": "q", "positive": "image"},
    }
    (data,) = load_training_data(a_spec(train=train), places).sets
    assert data.rows[0]["positive"].size == (64, 64)


def test_the_names_of_a_folder_can_be_listed(bucket: str, places: Places) -> None:
    secret = table(f"s3://{bucket}/tables", "s3").secret_ref
    assert list_files(f"s3://{bucket}/tables", secret, places) == sorted(TABLES)


def test_a_bucket_that_has_not_changed_is_not_fetched_again(s3: S3, bucket: str, places: Places) -> None:
    with running_faults(s3.endpoint) as faults:
        write_secret(places.secrets / "far", s3.keys(AWS_ENDPOINT_URL=faults.url))
        first = fetch_model(model(f"s3://{bucket}/base", "far"), places)
        before = len(faults.requests)
        assert fetch_model(model(f"s3://{bucket}/base", "far"), places) == first
        again = faults.requests[before:]
    assert again
    assert not [r for r in again if "safetensors" in r]


def test_a_bucket_that_has_changed_is_fetched_again(s3: S3, bucket: str, places: Places) -> None:
    source = table(f"s3://{bucket}/tables/dev.jsonl", "s3")
    before = fetch_table(source, places)
    s3.put(bucket, {"tables/dev.jsonl": ROWS * 2})
    after = fetch_table(source, places)
    assert after.files[0].read_bytes() == ROWS * 2
    assert after.revision != before.revision
    assert before.files[0].read_bytes() == ROWS


def test_the_cache_gives_nothing_to_somebody_without_access(s3: S3, bucket: str, places: Places) -> None:
    fetch_model(model(f"s3://{bucket}/base", "s3"), places)
    write_secret(places.secrets / "wrong", s3.keys(AWS_SECRET_ACCESS_KEY="wrong"))
    with pytest.raises(NoAccess):
        fetch_model(model(f"s3://{bucket}/base", "wrong"), places)


def test_a_bucket_that_changes_while_it_is_fetched_is_not_taken(
    s3: S3, bucket: str, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    from finetune_trainer.sources.stores import Store

    download = Store.download

    def meanwhile(*arguments: object, **named: object) -> None:
        download(*arguments, **named)  # type: ignore[arg-type]
        s3.put(bucket, {"base/config.json": b"[]"})

    monkeypatch.setattr(Store, "download", meanwhile)
    with pytest.raises(SourceUnavailable) as raised:
        fetch_model(model(f"s3://{bucket}/base", "s3"), places)
    assert raised.value.reason == "SourceChanged"


@pytest.mark.parametrize(
    ("uri", "reason"),
    [("s3://{}/absent", "ObjectMissing"), ("s3://no-such-bucket/base", "ObjectMissing")],
)
def test_what_is_not_there_is_named(bucket: str, places: Places, uri: str, reason: str) -> None:
    uri = uri.format(bucket)
    with pytest.raises(InvalidSpec) as raised:
        fetch_model(model(uri, "s3"), places)
    assert raised.value.reason == reason
    assert uri in raised.value.message


def test_one_object_is_no_model(bucket: str, places: Places) -> None:
    with pytest.raises(InvalidSpec) as raised:
        fetch_model(model(f"s3://{bucket}/base/config.json", "s3"), places)
    assert raised.value.reason == "NotAFolder"


def test_an_object_of_an_unknown_format_is_refused_before_it_comes(bucket: str, places: Places) -> None:
    with pytest.raises(InvalidData) as raised:
        fetch_table(table(f"s3://{bucket}/tables/train/script.py", "s3"), places)
    assert raised.value.reason == "UnknownFormat"
    assert not places.cache.exists()


def test_progress_is_told_in_bytes(bucket: str, places: Places) -> None:
    told: list[tuple[str, int, int]] = []
    listening = replace(places, on_transfer=lambda *args: told.append(args))
    fetch_model(model(f"s3://{bucket}/base", "s3"), listening)
    size = len(MODEL["config.json"]) + len(MODEL["model.safetensors"])
    assert told[-1] == (f"s3://{bucket}/base", size, size)


# oci://


@pytest.fixture
def artifact(registry: Registry, places: Places, tmp_path: Path) -> str:
    """An artifact with a model and tables, and the Secret `docker`."""
    secret = write_secret(places.secrets / "docker", registry.keys())
    repository = open_repository(
        OciTarget(registry.host, f"team/{tmp_path.name.lower().replace('_', '-')}"), secret
    )
    digest = repository.push({**MODEL, **TABLES}, tag="1")
    return f"{repository.name}@{digest}"


def test_of_a_model_in_a_registry_no_pickle_comes(artifact: str, places: Places) -> None:
    fetched = fetch_model(model(artifact, "docker"), places)
    assert names_in(fetched.path) == {"config.json", "model.safetensors"}
    assert fetched.revision == artifact.partition("@")[2]


def test_a_table_in_a_registry_goes_by_its_split(artifact: str, places: Places) -> None:
    fetched = fetch_table(table(artifact, "docker", split="train"), places)
    assert [f.read_bytes() for f in fetched.files] == [ROWS]
    assert fetched.revision == artifact.partition("@")[2]
    assert set(list_files(artifact, table(artifact, "docker").secret_ref, places)) >= {"dev.jsonl"}


def test_an_artifact_that_is_in_the_cache_is_asked_for_but_not_fetched(
    registry: Registry, artifact: str, places: Places
) -> None:
    first = fetch_model(model(artifact, "docker"), places)
    with running_faults(f"http://{registry.host}") as faults:
        write_secret(places.secrets / "far", registry.keys(host=faults.host))
        again = fetch_model(model(artifact.replace(registry.host, faults.host), "far"), places)
    assert again == first
    assert {r.split("/")[-2] for r in faults.requests} == {"manifests"}


def test_a_digest_that_is_not_there_is_named(artifact: str, places: Places) -> None:
    with pytest.raises(InvalidSpec) as raised:
        fetch_model(model(f"{artifact.partition('@')[0]}@sha256:{'0' * 64}", "docker"), places)
    assert raised.value.reason == "ArtifactMissing"


@pytest.mark.parametrize("scheme", ["s3", "oci"])
def test_to_look_at_a_model_its_weights_are_counted_and_not_fetched(
    bucket: str, artifact: str, places: Places, scheme: str
) -> None:
    settings = {"s3": (f"s3://{bucket}/base", "s3"), "oci": (artifact, "docker")}[scheme]
    assert read_model_files(model(*settings), places).size == len(MODEL["model.safetensors"])
    assert not list(places.cache.rglob("*.safetensors"))


# configmap://


@pytest.fixture
def rows(places: Places) -> str:
    """A ConfigMap as the kubelet mounts it: its keys are links into a folder that is replaced as a whole."""
    assert places.config_maps is not None
    folder = places.config_maps / "rows"
    data = folder / "..2026_01_01"
    data.mkdir(parents=True)
    (data / "train.jsonl").write_bytes(ROWS)
    (folder / "..data").symlink_to(data.name)
    (folder / "train.jsonl").symlink_to("..data/train.jsonl")
    return "configmap://rows"


def test_a_table_may_be_a_key_of_a_config_map(rows: str, places: Places) -> None:
    fetched = fetch_table(table(f"{rows}/train.jsonl"), places)
    assert fetched.files[0].read_bytes() == ROWS
    train = {"uri": f"{rows}/train.jsonl", "columns": {"query": "q", "positive": "p"}}
    (data,) = load_training_data(a_spec(train=train), places).sets
    assert len(data.rows) == 1


@pytest.mark.parametrize(
    ("uri", "reason", "found"),
    [
        ("configmap://rows/dev.jsonl", "ConfigMapKeyMissing", "the ConfigMap has train.jsonl"),
        ("configmap://absent/train.jsonl", "ConfigMapMissing", "'absent'"),
    ],
)
def test_a_missing_config_map_or_key_is_named(
    rows: str, places: Places, uri: str, reason: str, found: str
) -> None:
    with pytest.raises(InvalidSpec) as raised:
        fetch_table(table(uri), places)
    assert raised.value.reason == reason
    assert found in raised.value.message


# All together


def as_jsonl(rows: Sequence[Mapping[str, object]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.mark.training
def test_a_run_reads_a_bucket_a_registry_and_a_config_map_alike(
    s3: S3, registry: Registry, bucket: str, places: Places, text_model: Path
) -> None:
    s3.put(bucket, {f"text/{n}": (text_model / n).read_bytes() for n in names_in(text_model)})
    keys = write_secret(places.secrets / "docker", registry.keys())
    repository = open_repository(OciTarget(registry.host, "team/rows"), keys)
    digest = repository.push({"train.jsonl": as_jsonl(pairs(40))}, tag="1")
    assert places.config_maps is not None
    write_secret(places.config_maps / "rows", {"dev.jsonl": as_jsonl(pairs(20, start=100)).decode()})
    spec = a_spec(
        model={"uri": f"s3://{bucket}/text", "secretRef": {"name": "s3"}},
        train={"uri": f"{repository.name}@{digest}", "secretRef": {"name": "docker"}},
        dev={"name": "dev", "uri": "configmap://rows/dev.jsonl", "columns": COLUMNS},
        training={"args": {"max_steps": 2}},
    )
    file = RunFile(namespace="team", name="search", uid="u-1", run=1, spec_hash="v1:0", spec=spec)
    ending = run_finetune(Run(file, places, Lines(), StopRequest()))
    assert ending.report.failure is None
    assert ending.report.outcome == "Succeeded"
    assert ending.report.lineage is not None
    assert ending.report.lineage.model == model_digest(text_model)


# A network that fails, and comes back


@pytest.fixture
def faults(s3: S3, places: Places) -> Iterator[Faults]:
    with running_faults(s3.endpoint) as faults:
        write_secret(places.secrets / "far", s3.keys(AWS_ENDPOINT_URL=faults.url))
        yield faults


def test_a_model_comes_whole_over_a_network_that_fails(
    bucket: str, faults: Faults, places: Places, pauses: list[float]
) -> None:
    faults.coming.extend([Fault(503), Fault(), Fault(cut_after=3), Fault(429), Fault(500)])
    fetched = fetch_model(model(f"s3://{bucket}/base", "far"), places)
    assert {n: (fetched.path / n).read_bytes() for n in names_in(fetched.path)} == {
        n: c for n, c in MODEL.items() if not n.endswith(".bin")
    }


def test_a_model_that_does_not_come_leaves_nothing_in_the_cache(
    bucket: str, faults: Faults, places: Places, pauses: list[float]
) -> None:
    faults.coming.append(Fault())
    faults.always = Fault(cut_after=1)
    with pytest.raises(SourceUnavailable):
        fetch_model(model(f"s3://{bucket}/base", "far"), places)
    assert not [p for p in places.cache.rglob("*") if p.is_file() and not p.name.endswith(".lock")]
