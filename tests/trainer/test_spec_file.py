import json
from pathlib import Path
from typing import Any

import pytest

from finetune_trainer.errors import InvalidSpec
from finetune_trainer.local.spec_file import SpecFile, read_spec
from tests.trainer.builders import a_spec

BARE = a_spec().to_dict()


def read(tmp_path: Path, document: Any) -> SpecFile:
    path = tmp_path / "spec.yaml"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return read_spec(path)


def complaint(tmp_path: Path, document: Any) -> str:
    with pytest.raises(InvalidSpec) as caught:
        read(tmp_path, document)
    return caught.value.message


def changed(**parts: Any) -> dict[str, Any]:
    return {key: {**value, **parts.get(key, {})} if key in parts else value for key, value in BARE.items()}


def manifest(spec: Any, **metadata: str) -> dict[str, Any]:
    return {
        "apiVersion": "embeddings.dev/v1alpha1", "kind": "EmbeddingFinetune",
        "metadata": {"name": "search", **metadata}, "spec": spec,
    }  # fmt: skip


def test_a_manifest_gives_spec_name_and_namespace(tmp_path: Path) -> None:
    assert read(tmp_path, manifest(BARE, namespace="team")) == SpecFile(a_spec(), "search", "team")


def test_a_bare_spec_has_no_name(tmp_path: Path) -> None:
    assert read(tmp_path, BARE) == SpecFile(a_spec(), None, None)
    assert read(tmp_path, {"spec": BARE}) == SpecFile(a_spec(), None, None)


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        (changed(training={"epochs": "0"}), "training.epochs: must be greater than 0"),
        (changed(training={"epochs": 1}), "training.epochs: must be a text, found 1; put it into quotes"),
        (changed(training={"epoch": "1"}), "training.epoch: is no field here"),
        (
            changed(training={"batchSize": 1}),
            "training.batchSize: must be greater than or equal to 2, found 1",
        ),
        (changed(model={"uri": 1}), "model.uri: must be a text, found 1; put it into quotes"),
        (changed(loss={"name": "RankLoss"}), "MSELoss', found 'RankLoss'"),
        (changed(model={"uri": "file:///model"}), "model.uri: `uri` must begin with hf:// or pvc://"),
        (changed(evaluation={"primary": {"evaluator": "x"}}), "evaluation: `primary.evaluator` must"),
        ({k: v for k, v in BARE.items() if k != "evaluation"}, "evaluation: is required"),
        (changed(data={"train": [{"name": "t"}]}), "data.train[0].uri: is required"),
    ],
)
def test_a_mistake_is_told_with_its_path(tmp_path: Path, spec: dict[str, Any], line: str) -> None:
    assert line in complaint(tmp_path, spec)
    lines = complaint(tmp_path, spec).splitlines()
    assert complaint(tmp_path, manifest(spec)).splitlines() == [f"spec.{one}" for one in lines]


def test_every_mistake_has_a_line(tmp_path: Path) -> None:
    message = complaint(tmp_path, changed(training={"epochs": "0", "seed": -1}, model={"uri": "x"}))
    assert [line.partition(":")[0] for line in message.splitlines()] == [
        "model.uri", "training.epochs", "training.seed",
    ]  # fmt: skip


def test_very_many_mistakes_are_counted(tmp_path: Path) -> None:
    message = complaint(tmp_path, {**BARE, **{f"x{n}": 1 for n in range(30)}})
    assert message.splitlines()[-1] == "and 10 more"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("", "found 0 documents"),
        ("a: 1\n---\nb: 2\n", "found 2 documents"),
        ("[1, 2]", "must hold a mapping, found list"),
        ("a: [1", "not YAML"),
        ("a: 1\na: 2\n", "key 'a' appears twice"),
        (manifest(BARE) | {"kind": "TrainJob"}, "`kind` must be EmbeddingFinetune, found 'TrainJob'"),
        (manifest(BARE) | {"apiVersion": "v1"}, "`apiVersion` must be embeddings.dev/v1alpha1, found 'v1'"),
        (manifest(BARE) | {"data": {}}, "`data` is no field of a manifest"),
    ],
)
def test_a_file_that_holds_no_finetune_is_refused(tmp_path: Path, document: Any, message: str) -> None:
    assert message in complaint(tmp_path, document)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match=r"nowhere\.yaml cannot be read"):
        read_spec(tmp_path / "nowhere.yaml")


def test_a_number_with_an_exponent_is_one_as_in_a_cluster(tmp_path: Path) -> None:
    spec = json.dumps(changed(training={"args": {"weight_decay": 1}})).replace(
        '"weight_decay": 1', '"weight_decay": 1e-2'
    )
    assert read(tmp_path, spec).spec.training.args == {"weight_decay": 0.01}
