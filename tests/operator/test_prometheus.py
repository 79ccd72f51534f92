"""A real Prometheus scrapes the operator and answers for what was gained."""

import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.binaries import require_program
from tests.cluster.ports import reserve
from tests.cluster.waiting import eventually
from tests.operator.conftest import Finetunes
from tests.operator.process import Operator

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]  # programs may have to be built first

Query = Any


@pytest.fixture
def prometheus(operator: Operator, tmp_path: Path) -> Iterator[str]:
    """Its URL; it scrapes the operator every second."""
    program = require_program("prometheus", "prometheus")
    target = operator.health_url.removeprefix("http://")
    jobs = [{"job_name": "operator", "static_configs": [{"targets": [target]}]}]
    config = tmp_path / "prometheus.yaml"
    config.write_text(yaml.safe_dump({"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}))
    with reserve(1) as (port,), (tmp_path / "log").open("wb") as log:
        options = [f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}"]
        listen = f"--web.listen-address=127.0.0.1:{port}"
        process = subprocess.Popen([program, *options, listen], stdout=log, stderr=log)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


def ask(url: str, query: str) -> list[dict[str, Any]]:
    """Result of an instant query; nothing while Prometheus comes up."""
    parameters = urllib.parse.urlencode({"query": query})
    try:
        with urllib.request.urlopen(f"{url}/api/v1/query?{parameters}", timeout=10) as answer:  # noqa: S310 - http
            return list(json.loads(answer.read())["data"]["result"])
    except OSError:
        return []


def test_prometheus_answers_for_the_gain_until_the_finetune_is_deleted(
    prometheus: str, finetunes: Finetunes
) -> None:
    finetunes.apply("succeed")
    finetunes.await_condition("Ready", "True")
    of = f'namespace="{finetunes.namespace}",embeddingfinetune="one"'
    (gain,) = eventually(lambda: ask(prometheus, f"embedding_finetune_evaluation_gain{{{of}}}"), "the gain")
    assert gain["value"][1] == "0.09"
    assert gain["metric"]["evaluator"] == "dev"
    tuned = f'embedding_finetune_evaluation_score{{{of},model="tuned"}}'
    base = f'embedding_finetune_evaluation_score{{{of},model="base"}}'
    (computed,) = ask(prometheus, f"{tuned} - ignoring(model) {base}")
    assert float(computed["value"][1]) == pytest.approx(0.09)
    joined = f"gain{{{of}}} * on(namespace, embeddingfinetune) group_left(base_model) embedding_finetune_info"
    (named,) = ask(prometheus, f"embedding_finetune_evaluation_{joined}")
    assert named["metric"]["base_model"].startswith("hf://")
    finetunes.delete()
    eventually(lambda: not ask(prometheus, f"embedding_finetune_info{{{of}}}"), "its series are stale")
