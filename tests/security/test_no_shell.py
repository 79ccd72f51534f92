"""Nothing that is shipped starts a shell: operator, trainer and what both stand on."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(p for folder in ("crds", "operator", "trainer_image") for p in (ROOT / folder).rglob("*.py"))
SHELLS = {
    "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput",
    "asyncio.create_subprocess_shell", "pty.spawn", "eval", "exec",
}  # fmt: skip


def _shells(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in SHELLS or any(k.arg == "shell" for k in node.keywords):
                yield f"line {node.lineno}: {ast.unparse(node)}"
        elif isinstance(node, ast.ImportFrom) and node.module in {"os", "subprocess", "asyncio", "pty"}:
            yield from (
                f"line {node.lineno}: {a.name}" for a in node.names if f"{node.module}.{a.name}" in SHELLS
            )


def test_no_shell_is_started() -> None:
    assert len(SHIPPED) > 100
    found = {str(path.relative_to(ROOT)): list(_shells(path.read_text())) for path in SHIPPED}
    assert {path: shells for path, shells in found.items() if shells} == {}


@pytest.mark.parametrize(
    "line",
    [
        "import os\nos.system(x)",
        "import subprocess\nsubprocess.run(x, shell=True)",
        "from os import popen",
        "import asyncio\nasyncio.create_subprocess_shell(x)",
        "eval(x)",
    ],
)
def test_a_planted_shell_is_found(line: str) -> None:
    assert list(_shells(line))
