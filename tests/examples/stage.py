"""Where the examples run: claims, Secrets, a hub, object stores, a registry and a web server of this machine.

An example is run as it stands; only hosts that stand for somebody's own are replaced, and the digest of what
was pushed to the registry.
"""

import contextlib
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from finetune_api.uris import OciTarget
from finetune_trainer.sources.registries import open_repository
from tests.examples import tables
from tests.examples.claims import fill_data
from tests.examples.media import png
from tests.examples.models import fill_models
from tests.examples.tables import SPLIT, write_csv, write_jsonl, write_parquet
from tests.examples.website import running_website
from tests.trainer.local_hub import Hub, running
from tests.trainer.servers.gcs import Gcs, running_gcs
from tests.trainer.servers.registry import Registry, running_registry
from tests.trainer.servers.s3 import S3, running_s3

EXAMPLES = sorted((Path(__file__).parents[2] / "crds/examples").glob("*.yaml"))
OF_THE_STAGE = [e for e in EXAMPLES if e.stem not in {"german-search", "visual-documents"}]
"""Those two are run by the demo, on data of their own."""
TOKEN = "hf_of_the_examples"
_DIGEST = "sha256:" + "0123456789abcdef" * 4


FITTING = {
    "[2048, 1024, 512, 256, 128, 64]": "[64, 32, 16]",
    "truncateDim: 1024": "truncateDim: 32",
    "  runtime:\n    cache": "  runtime:\n    gpusPerNode: 0\n    cache",
    "  runtime:\n    resources": "  runtime:\n    gpusPerNode: 0\n    resources",
    "cpu: 8, memory: 32Gi": "cpu: 100m, memory: 1Gi",
    "cpu: 8, memory: 64Gi": "cpu: 100m, memory: 1Gi",
    'epochs: "1"\n    batchSize: 64\n    learningRate: "2e-5"': (
        'epochs: "12"\n    batchSize: 16\n    learningRate: "2e-3"\n    autocast: None'
    ),
}
"""What an example for a model of two billion weights and a GPU says, and what suits half a million here."""


@dataclass(frozen=True)
class Stage:
    """root: has a folder for every claim. environment: variables that every trainer needs."""

    root: Path
    secrets: Path
    config_maps: Path
    environment: Mapping[str, str]
    replaced: Mapping[str, str]

    def text(self, example: Path) -> str:
        """The example with hosts of this machine."""
        text = example.read_text(encoding="utf-8")
        for name, here in self.replaced.items():
            text = text.replace(name, here)
        return text


@contextlib.contextmanager
def running_stage(root: Path) -> Iterator[Stage]:
    """Everything that the examples name."""
    fill_models(root)
    fill_data(root)
    _fill_judged(root)
    (root / "published").mkdir()
    (root / "hub-cache").mkdir()
    servers = root / "servers"
    servers.mkdir()
    hub = Hub(files=_repositories(root), token=TOKEN)
    with (
        # Pods have a /tmp of their own; the folder of the programs is theirs too.
        tempfile.TemporaryDirectory(dir=sys.prefix, prefix="stage-") as visible,
        running(hub),
        running_s3(servers) as s3,
        running_gcs(servers) as gcs,
        running_registry(servers) as registry,
        running_website(Path(visible), _site(root)) as website,
    ):
        _fill_s3(s3, root)
        _fill_gcs(gcs, root)
        secrets, config_maps = root / "secrets", root / "configmaps"
        _write_keys(secrets / "hf-token", {"token": TOKEN})
        _write_keys(secrets / "store", s3.keys())
        _write_keys(secrets / "registry", registry.keys())
        duplicates = root / "duplicates.csv"
        write_csv(duplicates, tables.duplicates(SPLIT.test))
        _write_keys(config_maps / "duplicates", {"pairs.csv": duplicates.read_text()})
        environment = {
            "HF_ENDPOINT": hub.url,
            "HF_HUB_DISABLE_XET": "1",  # the hub of the tests speaks the older of two protocols
            "STORAGE_EMULATOR_HOST": gcs.endpoint,
            "HTTPS_PROXY": website.proxy,
            "SSL_CERT_FILE": str(website.certificate),
            "OMP_NUM_THREADS": "1",  # threads of a tiny model mostly wait for each other
        }
        replaced = {
            **FITTING,
            "registry.example.com": registry.host,
            _DIGEST: _push_model(registry, root, secrets / "registry"),
        }
        yield Stage(root, secrets, config_maps, environment, replaced)


def _fill_judged(root: Path) -> None:
    """Queries and judgements as tables, the pages as a folder of images."""
    folder = root / "datasets/judged"
    for pair in SPLIT.test:
        path = folder / "pages" / f"{pair.name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(pair))
    names = [{"file_name": f"{p.name}.png", "pid": p.name} for p in SPLIT.test]
    write_jsonl(folder / "pages/metadata.jsonl", names)
    write_jsonl(folder / "queries.jsonl", [{"qid": p.name, "text": p.query} for p in SPLIT.test])
    write_csv(folder / "qrels.csv", [{"qid": p.name, "pid": p.name, "grade": 1} for p in SPLIT.test])


def _write_keys(folder: Path, keys: Mapping[str, str]) -> None:
    folder.mkdir(parents=True)
    for name, value in keys.items():
        (folder / name).write_text(value)


def _files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def _repositories(root: Path) -> dict[str, dict[str, bytes]]:
    made = root / "hub"
    write_parquet(made / "clicks/data/train-00000-of-00001.parquet", tables.words(SPLIT.train))
    write_parquet(made / "clicks/data/test-00000-of-00001.parquet", tables.words(SPLIT.test))
    for split, pairs in (("train", SPLIT.train), ("dev", SPLIT.test)):
        write_parquet(made / f"pages/data/{split}-00000-of-00001.parquet", tables.pages(pairs))
    tables.write_benchmark(made / "benchmark")
    return {
        "models/Qwen/Qwen3-VL-Embedding-2B": _files(root / "models/vl-embedding"),
        "models/your-team/text-base": _files(root / "models/text"),
        "datasets/your-team/clicks": _files(made / "clicks"),
        "datasets/your-team/page-questions": _files(made / "pages"),
        "datasets/your-team/general-benchmark": _files(made / "benchmark"),
    }


def _site(root: Path) -> dict[str, bytes]:
    """Path on the web server -> content."""
    for name, pairs in (("train", SPLIT.train), ("test", SPLIT.test)):
        write_csv(root / f"site/{name}.csv", tables.graded(pairs))
    return {f"/similarity/{name}": content for name, content in _files(root / "site").items()}


def _fill_s3(s3: S3, root: Path) -> None:
    made = root / "forms"
    for name, pairs in (("train", SPLIT.train), ("test", SPLIT.test)):
        write_parquet(made / f"forms/{name}/rows.parquet", tables.forms(pairs))
    for bucket in ("team-data", "team-models", "team-scratch"):
        s3.make(bucket)
    s3.put("team-data", _files(made))


def _fill_gcs(gcs: Gcs, root: Path) -> None:
    write_jsonl(root / "gs/answers/train.jsonl", tables.answers(SPLIT.train))
    for bucket in ("team-data", "team-models"):
        gcs.make(bucket)
    gcs.put("team-data", _files(root / "gs"))


def _push_model(registry: Registry, root: Path, secret: Path) -> str:
    """Digest of the model `text`, as an artifact."""
    repository = open_repository(OciTarget(registry.host, "models/text"), secret)
    return repository.push(_files(root / "models/text"), tag="1")
