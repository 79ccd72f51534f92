"""`spec.limits`: when to try again and when to give up."""

from typing import Annotated

from pydantic import Field

from finetune_api.fields import ApiModel


class Limits(ApiModel):
    """When to try again and when to give up."""

    retries: Annotated[int, Field(ge=0, le=100)] = 3
    """New attempts after failures that are not the spec's or the data's fault."""
    pending_seconds: Annotated[int, Field(ge=10, le=604_800)] = 3600
    """How long a run may wait for what it misses (a volume, room on a node) before it counts as stalled."""
    active_seconds: Annotated[int, Field(ge=60, le=31_536_000)] | None = None
    """How long the pods of a run may run, all attempts together, suspensions left out. Absent: no limit."""
    stuck_seconds: Annotated[int, Field(ge=60, le=604_800)] = 1800
    """A running pod that reports nothing new for so long is called stuck; it is not stopped."""
    keep_job_seconds: Annotated[int, Field(ge=0, le=31_536_000)] = 604_800
    """How long a finished run's Job, its pods and their logs stay. The finetune keeps its numbers."""
