"""One cluster and one laboratory for all experiments; their table is printed in the end."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from tests.cluster import Cluster
from tests.faults.experiments import EXPERIMENTS
from tests.faults.laboratory import Experiment, Laboratory, Result, laboratory
from tests.faults.table import rows
from tests.operator.conftest import cluster

__all__ = ["cluster"]

_RESULTS = pytest.StashKey[dict[str, Result]]()


@pytest.fixture(scope="session")
def the_laboratory(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    with laboratory(cluster, Path(tmp_path_factory.mktemp("faults"))) as lab:
        yield lab


@pytest.fixture(scope="session")
def results(request: pytest.FixtureRequest, the_laboratory: Laboratory) -> dict[str, Future[Result]]:
    """Of the experiments that were asked for: all are begun at once, and share the lanes."""
    wanted = {
        item.callspec.params.get("experiment") for item in request.session.items if hasattr(item, "callspec")
    }
    found = [experiment for experiment in EXPERIMENTS if experiment in wanted]
    for experiment in found:
        experiment.prepare()
    return {experiment.name: _begin(the_laboratory, experiment) for experiment in found}


def _begin(lab: Laboratory, experiment: Experiment) -> Future[Result]:
    """In a thread of its own: it waits for lanes most of the time."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(lab.carry_out(experiment))
        except BaseException as error:  # noqa: BLE001 - for the test that waits
            future.set_exception(error)

    threading.Thread(target=run, name=experiment.name, daemon=True).start()
    return future


@pytest.fixture
def result(
    request: pytest.FixtureRequest, experiment: Experiment, results: dict[str, Future[Result]]
) -> Result:
    found = results[experiment.name].result()
    request.config.stash.setdefault(_RESULTS, {})[experiment.name] = found
    return found


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if found := config.stash.get(_RESULTS, None):
        terminalreporter.section("faults")
        for line in rows(found):
            terminalreporter.line(line)
