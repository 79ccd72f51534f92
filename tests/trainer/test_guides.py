import shutil
from pathlib import Path

import pytest

from finetune_trainer.errors import TrainerError
from finetune_trainer.training.guides import fetch_guides, load_guides
from tests.trainer.builders import a_spec, places_in

GUIDE = "pvc://models/guide"


def test_the_guides_of_all_losses_are_fetched_once_and_never_trained(
    text_model: Path, tmp_path: Path
) -> None:
    places = places_in(tmp_path)
    shutil.copytree(text_model, places.volume("models") / "guide")
    guided = {"name": "GISTEmbedLoss", "guide": {"uri": GUIDE}}
    spec = a_spec(loss=guided, train={"loss": {**guided, "name": "CachedGISTEmbedLoss"}})
    folders = fetch_guides(spec, places)
    assert list(folders) == [GUIDE]
    guide = load_guides(folders, spec)[GUIDE]
    assert not guide.training
    assert not any(p.requires_grad for p in guide.parameters())


def test_a_spec_without_a_guide_fetches_none(tmp_path: Path) -> None:
    assert fetch_guides(a_spec(), places_in(tmp_path)) == {}


def test_a_guide_that_is_not_there_ends_the_run(tmp_path: Path) -> None:
    spec = a_spec(loss={"name": "GISTEmbedLoss", "guide": {"uri": GUIDE}})
    with pytest.raises(TrainerError) as raised:
        fetch_guides(spec, places_in(tmp_path))
    assert raised.value.reason == "PathMissing"
