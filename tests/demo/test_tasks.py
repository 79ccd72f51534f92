from pathlib import Path

import pytest
import yaml

from demo.german import Pair, plan_search, write_tables
from demo.tasks import CLAIMS, MODELS, PUBLISHED, TASKS, Task
from finetune_api import FinetuneSpec
from finetune_api.uris import PvcUri, parse_uri


def spec_of(task: Task) -> FinetuneSpec:
    manifest = yaml.safe_load(task.manifest.read_text())
    assert manifest["metadata"]["name"] == task.name
    return FinetuneSpec.model_validate(manifest["spec"])


@pytest.fixture(scope="module", params=TASKS, ids=[task.name for task in TASKS])
def task(request: pytest.FixtureRequest) -> Task:
    found: Task = request.param
    return found


@pytest.fixture(scope="module")
def claims(task: Task, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The task's volumes, filled; what would be downloaded is in the cache already."""
    cache, folder = (tmp_path_factory.mktemp(name) for name in ("cache", "claims"))
    pairs = [Pair(f"Frage {n}", f"document {n}") for n in range(6600)]
    write_tables(cache / "german-search", plan_search(pairs))
    for claim in CLAIMS:
        (folder / claim).mkdir()
    task.fill(folder, cache)
    return folder


def sources(spec: FinetuneSpec) -> set[str]:
    tables = [*spec.model.sources.values(), *spec.data.train]
    judged = [part for one in spec.data.eval for part in (one, one.queries, one.corpus, one.qrels) if part]
    return {table.uri for table in (*tables, *judged) if table.uri}


def test_everything_the_example_reads_is_on_the_volumes(task: Task, claims: Path) -> None:
    for text in sources(spec_of(task)):
        uri = parse_uri(text)
        assert isinstance(uri, PvcUri)
        assert (claims / uri.claim / uri.path).exists(), text


def test_the_splits_the_example_names_are_there(task: Task, claims: Path) -> None:
    for train in spec_of(task).data.train:
        if train.split:
            uri = parse_uri(train.uri)
            assert isinstance(uri, PvcUri)
            assert (claims / uri.claim / uri.path / train.split).is_dir()


def test_base_model_and_length_are_those_of_the_example(task: Task) -> None:
    model = spec_of(task).model
    assert model.uri == f"pvc://{MODELS}/{task.base_model}"
    assert model.max_seq_length == task.max_seq_length


def test_the_gate_asks_for_a_real_gain_and_no_more_than_is_expected(task: Task) -> None:
    (gate,) = spec_of(task).evaluation.gates
    assert gate.minimum is not None
    assert float(gate.minimum) <= task.expected
    assert gate.minimum_gain == "0"


def test_the_model_goes_to_a_claim_of_the_demo(task: Task) -> None:
    output = spec_of(task).output
    assert output is not None
    assert output.uri == f"pvc://{PUBLISHED}/{task.name}"


def test_the_collection_is_what_the_evaluation_searches(task: Task, claims: Path) -> None:
    collection = task.collection(claims)
    assert len(collection.queries) == len(collection.answers) == 200
    for query, answer in zip(collection.queries, collection.answers, strict=True):
        caption = collection.captions[answer]
        words = caption.split(", ") if collection.pages else [caption.removeprefix("document ")]
        assert all(word.lower() in query.lower() for word in words)
    assert len(collection.documents) == len(collection.captions)
