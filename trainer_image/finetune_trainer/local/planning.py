"""A run without a cluster: who it is, and where its volumes are.

Its uid is a hash of the spec, so that the same spec run again finds what it has published, and its number
counts on from what lies in the target.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

from finetune_api.run_file import RunFile
from finetune_api.spec_hash import spec_hash
from finetune_trainer.errors import InvalidSpec
from finetune_trainer.local.spec_file import SpecFile
from finetune_trainer.places import Places

NAMESPACE = "local"
_NOT_THE_RESULT = {"runtime", "limits", "suspend"}


def claims(file: SpecFile) -> set[str]:
    """Every claim that the spec names."""
    return {reference.claim for reference in file.spec.references() if reference.claim is not None}


def find_volumes(file: SpecFile, *, root: Path, named: Mapping[str, Path]) -> dict[str, Path]:
    """The folder of every claim: as named, else `<root>/<claim>`. Raises InvalidSpec for other names."""
    wanted = claims(file)
    if unknown := sorted(set(named) - wanted):
        raise InvalidSpec(
            "UnknownVolume",
            f"--volume {unknown[0]}: the spec names no such claim; it names {', '.join(sorted(wanted))}",
            "correct the option",
        )
    return {claim: named.get(claim, root / claim).absolute() for claim in wanted}


def first_run(file: SpecFile, path: Path, *, allow_remote_code: bool = False) -> RunFile:
    """The run of this spec as if there were none before."""
    return RunFile(
        namespace=file.namespace or NAMESPACE,
        name=file.name or _name_from(path),
        uid=_spec_uid(file),
        run=1,
        spec_hash=spec_hash(file.spec),
        allow_remote_code=allow_remote_code,
        spec=file.spec,
    )


def plan_run(
    file: SpecFile, path: Path, places: Places, *, again: bool = False, allow_remote_code: bool = False
) -> RunFile:
    """The run of this spec: the one that is published already, or the next. again: always the next."""
    from finetune_trainer.publishing import target_of, versions

    run = first_run(file, path, allow_remote_code=allow_remote_code)
    target = target_of(run, places)
    if target is None:
        return run
    published = versions(target)
    mine = [v.run for v in published if v.uid == run.uid]
    number = mine[-1] if mine and not again else max((v.run for v in published), default=0) + 1
    return run.model_copy(update={"run": number})


def _spec_uid(file: SpecFile) -> str:
    """Equal for specs of which one result can stand for the other; gates count, for they decide."""
    content = {k: v for k, v in file.spec.to_dict().items() if k not in _NOT_THE_RESULT}
    text = json.dumps(content, sort_keys=True)
    return f"local-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _name_from(path: Path) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-")
    return name if re.match(r"[a-z]", name) else f"finetune-{name}".strip("-")
