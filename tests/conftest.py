"""For all tests: golden files, and the local cluster.

A golden file holds what a pure function gave when a person last read it. `pytest --update-golden` writes the
files anew; `git diff` then shows what to review.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples each time, and no deadline: machines differ, and tests must not.
settings.register_profile("steady", deadline=None, derandomize=True, database=None)
settings.load_profile("steady")

pytest_plugins = ["tests.cluster.pytest_plugin"]
GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write tests/golden anew instead of comparing"
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with a file below tests/golden."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        assert path.exists(), f"{path} is missing; write it with pytest --update-golden and review it"
        assert text == path.read_text(), f"{path} differs; review the change, then pytest --update-golden"

    return compare
