"""A Dockerfile, read just far enough to be checked: no engine is needed."""

import json
import shlex
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Instruction:
    """One instruction, its continuation lines joined."""

    name: str
    value: str

    def words(self) -> list[str]:
        return list(json.loads(self.value)) if self.value.startswith("[") else shlex.split(self.value)


@dataclass
class Stage:
    """What stands between two FROMs."""

    base: str
    name: str
    instructions: list[Instruction] = field(default_factory=list)

    def values(self, name: str) -> list[str]:
        return [i.value for i in self.instructions if i.name == name]

    def copied(self) -> list[tuple[str, list[str]]]:
        """Of each COPY: the stage it takes from ("" for the build context), and its sources."""
        found = []
        for instruction in self.instructions:
            if instruction.name == "COPY":
                words = instruction.words()
                stages = [w.removeprefix("--from=") for w in words if w.startswith("--from=")]
                paths = [w for w in words if not w.startswith("--")]
                found.append((stages[0] if stages else "", paths[:-1]))
        return found


def parse_dockerfile(path: Path) -> list[Stage]:
    """The stages in their order. What stands before the first FROM may only be ARG."""
    stages: list[Stage] = []
    for instruction in _instructions(path.read_text()):
        if instruction.name == "FROM":
            words = instruction.words()
            stages.append(Stage(base=words[0], name=words[2] if len(words) > 1 else ""))
        elif stages:
            stages[-1].instructions.append(instruction)
        elif instruction.name != "ARG":
            raise ValueError(f"{path}: {instruction.name} before the first FROM")
    return stages


def _instructions(text: str) -> list[Instruction]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    split = (line.split(None, 1) for line in joined.splitlines())
    return [Instruction(name, value.strip()) for name, value in split]
