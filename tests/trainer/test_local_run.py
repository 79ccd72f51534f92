import json
from pathlib import Path
from typing import Any

import pytest

from finetune_api.report import Report
from finetune_api.results import Artifact
from finetune_api.spec import FinetuneSpec
from finetune_trainer.errors import InvalidSpec
from finetune_trainer.local.planning import claims, find_volumes, plan_run
from finetune_trainer.local.spec_file import SpecFile
from finetune_trainer.places import Places
from tests.trainer.builders import a_spec, places_in

FILE = Path("My first.spec.yaml")


def test_code_of_a_model_runs_only_when_the_person_says_so(tmp_path: Path) -> None:
    file, places = SpecFile(a_spec(), None, None), places_in(tmp_path)
    assert not plan_run(file, FILE, places).allow_remote_code
    assert plan_run(file, FILE, places, allow_remote_code=True).allow_remote_code


def with_output(**changes: Any) -> SpecFile:
    spec = FinetuneSpec.model_validate(
        {**a_spec().to_dict(), "output": {"uri": "pvc://models/search"}, **changes}
    )
    return SpecFile(spec, None, None)


def publish_by_hand(places: Places, file: SpecFile, *, again: bool = False) -> int:
    """What publishing leaves, without a model."""
    run = plan_run(file, FILE, places, again=again)
    folder = places.volume("models") / "search" / f"{run.run}-{run.run:012}"
    folder.mkdir(parents=True)
    artifact = Artifact(uri="pvc://models/search/x", digest="sha256:0", run=run.run, report="r")
    report = Report(uid=run.uid, run=run.run, outcome="Succeeded", artifact=artifact)
    full = {
        "namespace": run.namespace, "name": run.name,
        "finished": f"{run.run:04}", "report": report.to_dict(),
    }  # fmt: skip
    (folder / "report.json").write_text(json.dumps(full))
    return run.run


def test_a_run_is_named_by_its_manifest_or_else_by_its_file(tmp_path: Path) -> None:
    places = places_in(tmp_path)
    bare = plan_run(SpecFile(a_spec(), None, None), FILE, places)
    assert (bare.namespace, bare.name) == ("local", "my-first-spec")
    named = plan_run(SpecFile(a_spec(), "search", "team"), FILE, places)
    assert (named.namespace, named.name) == ("team", "search")
    assert plan_run(SpecFile(a_spec(), None, None), Path("7.yaml"), places).name == "finetune-7"


def test_a_published_spec_is_the_same_run_and_a_changed_one_the_next(tmp_path: Path) -> None:
    places = places_in(tmp_path)
    assert publish_by_hand(places, with_output()) == 1
    assert plan_run(with_output(), FILE, places).run == 1
    changed = with_output(training={"epochs": "2"})
    assert plan_run(changed, FILE, places).run == 2
    assert publish_by_hand(places, changed) == 2
    assert plan_run(with_output(), FILE, places).run == 1


def test_gates_make_another_run_and_resources_do_not(tmp_path: Path) -> None:
    places = places_in(tmp_path)
    uid = plan_run(with_output(), FILE, places).uid
    evaluation = with_output().spec.evaluation.to_dict()
    gated = with_output(evaluation={**evaluation, "gates": [{"evaluator": "dev", "minimum": "0.9"}]})
    assert plan_run(gated, FILE, places).uid != uid
    assert plan_run(with_output(runtime={"gpusPerNode": 0}), FILE, places).uid == uid


def test_again_is_a_run_of_its_own(tmp_path: Path) -> None:
    places = places_in(tmp_path)
    publish_by_hand(places, with_output())
    assert publish_by_hand(places, with_output(), again=True) == 2
    assert plan_run(with_output(), FILE, places).run == 2


def test_every_claim_of_the_spec_gets_a_folder(tmp_path: Path) -> None:
    judged = {
        "name": "dev",
        "queries": {"uri": "pvc://q/a.csv", "id": "i", "input": "t"},
        "corpus": {"uri": "pvc://c/a.csv", "id": "i", "input": "t"},
        "qrels": {"uri": "https://host/a.csv", "query": "q", "document": "d"},
    }
    file = SpecFile(a_spec(dev=judged, train={"uri": "pvc://t/x"}), None, None)
    assert claims(file) == {"q", "c", "t", "models"}
    folders = find_volumes(file, root=tmp_path, named={"q": tmp_path / "elsewhere"})
    assert folders["q"] == tmp_path / "elsewhere"
    assert folders["models"] == tmp_path / "models"


def test_a_volume_that_the_spec_does_not_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match="it names data, models"):
        find_volumes(SpecFile(a_spec(), None, None), root=tmp_path, named={"model": tmp_path})
