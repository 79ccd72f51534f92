"""The chart, rendered by the real helm."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.binaries import MODULES, ensure_built

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/embedding-finetune-operator"
RELEASE = "embedding-finetune-operator"
NAMESPACE = "embedding-finetune-system"
# helm asks no cluster here; a helm that was built from its module takes a far older one for granted.
KUBE_VERSION = "1.34.0"

Objects = list[dict[str, Any]]


class HelmRefused(Exception):
    """helm ended with an error; carries what it printed."""


@pytest.fixture(scope="session")
def helm() -> Callable[..., str]:
    """Run helm: that of PATH, else one built from its Go module, which takes minutes the first time."""
    installed = shutil.which("helm")
    program = Path(installed) if installed else ensure_built(MODULES["helm"], print) / "helm"

    def run(*arguments: str) -> str:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=120, check=False)
        if done.returncode != 0:
            raise HelmRefused(done.stderr + done.stdout)
        return done.stdout

    return run


@pytest.fixture(scope="session")
def render(helm: Callable[..., str]) -> Callable[..., Objects]:
    """The objects of the chart under values as of `--set`."""

    def objects(*values: str, release: str = RELEASE, namespace: str = NAMESPACE) -> Objects:
        options = [part for value in values for part in ("--set", value)]
        options += ["--namespace", namespace, "--kube-version", KUBE_VERSION]
        text = helm("template", release, str(CHART), *options)
        return [document for document in yaml.safe_load_all(text) if document]

    return objects


@pytest.fixture(scope="session")
def rendered(render: Callable[..., Objects]) -> Objects:
    """The chart with its defaults."""
    return render()
