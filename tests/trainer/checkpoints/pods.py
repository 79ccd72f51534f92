"""The real `finetune-trainer pod` in a process of its own, with everything mounted where a pod has it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from finetune_api import run_file
from finetune_api.report import Report
from finetune_api.run_file import RunFile
from finetune_trainer.places import Places
from tests.cluster.binaries import require_program
from tests.cluster.node.sandbox import Mount, build_arguments

_HANDED_DOWN = ("PATH", "PYTHONPATH", "OMP_NUM_THREADS", "LANG")
_LIMIT_SECONDS = 300


@dataclass(frozen=True)
class Ended:
    """code: exit code; lines: of the log."""

    code: int
    report: Report
    lines: list[str]


@dataclass(frozen=True)
class Pod:
    """places: whose volumes and secrets are mounted; checkpoints: the claim of `runtime.checkpoints`."""

    file: RunFile
    places: Places
    folder: Path
    checkpoints: Path | None = None

    def run(self, *, stop_at: str | None = None, number: signal.Signals = signal.SIGTERM) -> Ended:
        """To its end. stop_at: a signal is sent when this is in a line of the log."""
        lines = []
        with self._started() as (process, pid):
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                if stop_at is not None and stop_at in line:
                    os.kill(pid, number)
                    stop_at = None
            code = process.wait(_LIMIT_SECONDS)
        text = (self.folder / "termination").read_text()
        assert text, lines
        return Ended(code, Report.model_validate_json(text), lines)

    @contextmanager
    def _started(self) -> Iterator[tuple["subprocess.Popen[str]", int]]:
        """The process, and the id of the trainer in it."""
        reading, writing = os.pipe()
        options = [*self._sandbox(), "--info-fd", str(writing)]
        command = [*options, str(Path(sys.executable).with_name("finetune-trainer")), "pod"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, pass_fds=[writing]
        ) as process:
            os.close(writing)
            with os.fdopen(reading) as information:
                pid = json.load(information)["child-pid"]
            try:
                yield process, pid
            finally:
                process.kill()

    def _sandbox(self) -> list[str]:
        config, work = self.folder / "config", self.folder / "work"
        for path in (config, work, self.places.secrets):
            path.mkdir(parents=True, exist_ok=True)
        (config / run_file.RUN_FILE).write_text(json.dumps(self.file.to_dict()))
        (self.folder / "termination").write_text("")
        assert isinstance(self.places.volumes, Path)
        mounts: dict[str, Path] = {
            run_file.CONFIG_DIR: config,
            run_file.SECRETS_DIR: self.places.secrets,
            run_file.VOLUMES_DIR: self.places.volumes,
            run_file.WORK_DIR: work,
            run_file.TERMINATION_FILE: self.folder / "termination",
        }
        if self.checkpoints is not None:
            self.checkpoints.mkdir(exist_ok=True)
            mounts[run_file.CHECKPOINTS_DIR] = self.checkpoints
        return [
            str(require_program("bwrap", "bubblewrap")),
            *build_arguments(
                [Mount(source, PurePosixPath(target)) for target, source in mounts.items()],
                hostname="pod",
                working_dir="/",
            ),
            *_environment({name: os.environ[name] for name in _HANDED_DOWN if name in os.environ}),
        ]


def _environment(variables: Mapping[str, str]) -> list[str]:
    return [word for name, value in variables.items() for word in ("--setenv", name, value)]


def a_run_file(spec: dict[str, Any]) -> RunFile:
    return RunFile.model_validate(
        {"namespace": "team", "name": "search", "uid": "u-1", "run": 1, "specHash": "v1:0", "spec": spec}
    )
