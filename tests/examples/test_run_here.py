"""Every example through `finetune-trainer run`: it trains, passes its gates and publishes."""

from pathlib import Path

import pytest
from huggingface_hub import constants
from typer.testing import CliRunner

from finetune_api.exit_codes import ExitCode
from finetune_trainer.__main__ import app
from tests.examples.stage import OF_THE_STAGE, Stage

# Of libraries that call each other.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing_enable:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]


@pytest.mark.training
@pytest.mark.parametrize("example", OF_THE_STAGE, ids=lambda e: str(e.stem))
def test_an_example_is_trained_gated_and_published(
    stage: Stage, example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in stage.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    spec = tmp_path / example.name
    spec.write_text(stage.text(example))
    options = ["--volumes", str(stage.root), "--work", str(tmp_path / "work")]
    options += ["--secrets", str(stage.secrets), "--configmaps", str(stage.config_maps)]
    done = CliRunner().invoke(app, ["run", str(spec), *options])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == ExitCode.DONE, done.output
    assert "model: " in done.output
