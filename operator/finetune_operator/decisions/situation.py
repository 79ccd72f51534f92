"""One observation together with what follows from it directly; what the rules of `plan` look at."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from pydantic import ValidationError

from finetune_api.spec import FinetuneSpec
from finetune_api.spec_hash import spec_hash
from finetune_api.status import Condition, FinetuneStatus, Run
from finetune_operator.decisions.accounting import account
from finetune_operator.decisions.conditions import Stamp, find
from finetune_operator.decisions.jobs import spec_hash_of
from finetune_operator.decisions.objects import (
    created_at,
    format_time,
    is_controlled_by,
    status_written_at,
    uid_of,
)
from finetune_operator.decisions.observed import Object, Observed
from finetune_operator.decisions.runs import children_name, stored_status
from finetune_operator.errors import Stalled
from finetune_operator.settings import Settings

_SHOWN_ERRORS = 3


@dataclass(frozen=True)
class Situation:
    """Everything is computed when first asked for, and once."""

    observed: Observed
    settings: Settings

    @property
    def namespace(self) -> str:
        return str(self.observed.finetune["metadata"]["namespace"])

    @property
    def uid(self) -> str:
        return uid_of(self.observed.finetune)

    @property
    def generation(self) -> int:
        return int(self.observed.finetune["metadata"]["generation"])

    @property
    def now(self) -> datetime:
        return self.observed.now

    @property
    def stamp(self) -> Stamp:
        return Stamp(self.generation, self.now)

    @cached_property
    def status(self) -> FinetuneStatus:
        """As it is stored."""
        return stored_status(self.observed.finetune)

    @property
    def reconciling(self) -> Condition | None:
        """The stored condition, if it is there and True."""
        condition = find(self.status.conditions, "Reconciling")
        return condition if condition is not None and condition.status == "True" else None

    def says(self, *reasons: str) -> bool:
        """Whether the stored condition is one of these."""
        return self.reconciling is not None and self.reconciling.reason in reasons

    @cached_property
    def spec(self) -> FinetuneSpec:
        """Raises Stalled(InvalidSpec) for what the API server should have refused."""
        try:
            return FinetuneSpec.model_validate(self.observed.finetune["spec"])
        except ValidationError as error:
            raise Stalled("InvalidSpec", _explain(error)) from error

    @property
    def is_spec_new(self) -> bool:
        return self.status.observed_generation != self.generation

    @cached_property
    def spec_hash(self) -> str:
        """Computed only for a generation not seen before, so that an upgrade of ours re-trains nothing."""
        if self.status.run is not None and not self.is_spec_new:
            return self.status.run.spec_hash
        return spec_hash(self.spec)

    @property
    def is_let_through(self) -> bool:
        """Whether the present run was begun for this very spec."""
        return self.status.run is not None and self.status.run.spec_hash == self.spec_hash

    @cached_property
    def run(self) -> Run:
        """The present run, with what its Job and pods add to it; before the first, the one to begin."""
        run = self.status.run
        if run is None:
            run = Run(number=1, spec_hash=self.spec_hash, job=children_name(self.observed.finetune, 1))
        job = self.observed.job
        if run.completion_time is not None or (job is not None and not self._is_of(run, job)):
            return run
        if job is not None and run.start_time is None:
            run = run.model_copy(update={"start_time": format_time(created_at(job) or self.now)})
        return account(run, self.observed, self.status.progress)

    def _is_of(self, run: Run, job: Object) -> bool:
        return is_controlled_by(job, self.uid) and spec_hash_of(job) == run.spec_hash

    @property
    def is_run_over(self) -> bool:
        return self.run.completion_time is not None

    @cached_property
    def written_at(self) -> datetime | None:
        """When the status was last written."""
        return status_written_at(self.observed.finetune)


def _explain(error: ValidationError) -> str:
    """The first few things that are wrong, as paths a user knows."""
    found = error.errors(include_url=False, include_context=False)
    told = [f"spec{_path(e['loc'])}: {e['msg'].removeprefix('Value error, ')}" for e in found[:_SHOWN_ERRORS]]
    more = f" (and {len(found) - _SHOWN_ERRORS} more)" if len(found) > _SHOWN_ERRORS else ""
    return f"The spec is not valid: {'; '.join(told)}{more}. You: correct it and apply it again."


def _path(location: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
