from collections.abc import Iterator

import pytest

from tests.examples.stage import Stage, running_stage
from tests.one_thread import one_thread  # noqa: F401 - a fixture


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with running_stage(tmp_path_factory.mktemp("stage")) as stage:
        yield stage
