"""The HTTPS receiver of what pods report: live progress and, at the end, the Report.

Wire format and answers are those of Kubeflow Trainer's status server, so its clients can report here too;
errors are Kubernetes Status objects. The sender is found out from the headers before any of the body is read.
What is accepted goes into the memory and its key onto the queue: nothing is written to the API server here.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Literal, Protocol

from aiohttp import web
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from finetune_api import names
from finetune_api.report import Report
from finetune_api.status import RUNNING_PHASES, Phase, Progress
from finetune_operator.decisions.observed import LiveProgress, PostedReport
from finetune_operator.identity import NotAllowed, Sender
from finetune_operator.kube import ApiFailure, Conflict
from finetune_operator.memory import Key, Memory

logger = logging.getLogger(__name__)

PATH = f"/apis/{names.API_VERSION}/namespaces/{{namespace}}/{names.PLURAL}/{{name}}/status"
MAX_BODY_BYTES = 64 * 1024
BODY_SECONDS = 10.0
IDLE_SECONDS = 120.0
# A TokenReview and two reads for a token seen for the first time; more at once would only queue elsewhere.
IDENTIFYING_THREADS = 4
DEFAULT_PHASE: Phase = "Training"
# Above it, JSON numbers are no longer exact.
MAX_COUNT = 2**53

Short = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class Wire(BaseModel):
    """Unknown fields are ignored: clients may be newer."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True, extra="ignore")


class WireMetric(Wire):
    name: Short
    value: Short


class TrainerStatus(Wire):
    """Progress, as Kubeflow Trainer writes it."""

    progress_percentage: Annotated[int, Field(ge=0, le=100)] | None = None
    estimated_remaining_seconds: Annotated[int, Field(ge=0)] | None = None
    metrics: Annotated[list[WireMetric], Field(max_length=256)] = []
    last_updated_time: AwareDatetime

    def value(self, name: str) -> str | None:
        return next((metric.value for metric in self.metrics if metric.name == name), None)


class Body(Wire):
    """A POST: progress, the final Report, both, or (as there) nothing."""

    trainer_status: TrainerStatus | None = None
    report: Report | None = None


class Identifies(Protocol):
    """Finds the sender from a token; `identity.Senders` does it."""

    def identify(self, token: str) -> Sender: ...


class Receiver:
    """Takes reports. `changed(key, urgent)` is called on the loop for what status should soon show."""

    def __init__(
        self,
        senders: Identifies,
        memory: Memory,
        changed: Callable[[Key, bool], None],
        *,
        count: Callable[[str], None],
    ) -> None:
        self._senders = senders
        self._memory = memory
        self._changed = changed
        self._count = count
        self._threads = ThreadPoolExecutor(IDENTIFYING_THREADS, thread_name_prefix="identify")

    def app(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[self._answer])
        app.router.add_post(PATH, self._receive)
        return app

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    @web.middleware
    async def _answer(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Errors as Kubernetes Status; every answer is counted."""
        try:
            response = await handler(request)
        except web.HTTPException as error:
            response = _failure(HTTPStatus(error.status), error.text or error.reason)
        except NotAllowed as error:
            response = _failure(HTTPStatus.FORBIDDEN, str(error))
        except TimeoutError:
            response = _failure(
                HTTPStatus.REQUEST_TIMEOUT, f"the body did not arrive within {BODY_SECONDS:.0f} s"
            )
        except (ConnectionError, web.RequestPayloadError):
            # A pod that is stopped breaks off; nobody reads this answer, but it is counted.
            response = _failure(HTTPStatus.BAD_REQUEST, "the body broke off")
        except (ApiFailure, Conflict) as error:
            logger.warning("could not find out who reports", extra={"error": str(error)})
            response = _failure(HTTPStatus.SERVICE_UNAVAILABLE, "the API server does not answer; try again")
        self._count(str(response.status))
        return response

    async def _receive(self, request: web.Request) -> web.Response:
        sender = await self._identify(request)
        key = Key(request.match_info["namespace"], request.match_info["name"])
        if sender.key != key:
            raise NotAllowed(f"the token's pod belongs to {'/'.join(sender.key)}, not to {'/'.join(key)}")
        body = await _read(request)
        if body.report is not None and (body.report.uid, body.report.run) != (sender.uid, sender.run):
            raise web.HTTPUnprocessableEntity(
                text=f"report: uid and run must be {sender.uid} and {sender.run},"
                f" found {body.report.uid} and {body.report.run}"
            )
        if not self._take(sender, body):
            raise web.HTTPNotFound(text=f"{'/'.join(key)} is gone, or run {sender.run} is over")
        return web.Response(
            text=body.model_dump_json(by_alias=True, exclude_none=True), content_type="application/json"
        )

    async def _identify(self, request: web.Request) -> Sender:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise NotAllowed("a bearer token is required")
        length = request.content_length
        if length is not None and length > MAX_BODY_BYTES:
            raise web.HTTPRequestEntityTooLarge(MAX_BODY_BYTES, length)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._senders.identify, token.strip())

    def _take(self, sender: Sender, body: Body) -> bool:
        """Remember it, and have status brought up to date if it would differ. False: nobody waits for it."""
        is_known = True
        if body.trainer_status is not None:
            before, _ = self._memory.reported(sender.uid, sender.run)
            live = parse_progress(body.trainer_status, datetime.now(UTC), sender.pod_uid, before)
            is_known = self._memory.report(sender.key, sender.uid, sender.run, live)
            if is_known and _differs(before, live):
                self._changed(sender.key, before is None or before.phase != live.phase)
        if body.report is not None:
            posted = PostedReport(body.report, sender.pod_uid)
            is_known = self._memory.report(sender.key, sender.uid, sender.run, posted)
            if is_known:
                self._changed(sender.key, True)
        return is_known


def parse_progress(
    status: TrainerStatus, received_at: datetime, pod_uid: str, before: LiveProgress | None
) -> LiveProgress:
    """What a report says; before: what was known until now. Values that make no sense are left out.

    Raises HTTPUnprocessableEntity for a phase that there is not.
    """
    phase = status.value("phase") or DEFAULT_PHASE
    if phase not in RUNNING_PHASES:
        raise web.HTTPUnprocessableEntity(
            text=f"metric phase must be one of {', '.join(RUNNING_PHASES)}, found {phase}"
        )
    progress, checkpoint = _progress(status), _count(status.value("checkpoint_step"))
    if before is not None and before.pod_uid != pod_uid:
        before = None
    is_new = before is None or (before.phase, before.progress) != (phase, progress)
    is_newer = checkpoint is not None and (before is None or before.checkpoint_step != checkpoint)
    return LiveProgress(
        phase=phase,
        progress=progress,
        received_at=received_at,
        pod_uid=pod_uid,
        changed_at=received_at if before is None or is_new else before.changed_at,
        resumed_step=_count(status.value("resumed_step")),
        checkpoint_step=checkpoint,
        checkpoint_at=received_at if is_newer else before.checkpoint_at if before else None,
    )


def _progress(status: TrainerStatus) -> Progress | None:
    if status.progress_percentage is None:
        return None
    return Progress(
        percent=status.progress_percentage,
        step=_count(status.value("current_step")),
        total_steps=_count(status.value("total_steps")),
        epoch=_decimal(status.value("current_epoch")),
        loss=_decimal(status.value("loss")),
        samples_per_second=_decimal(status.value("samples_per_second")),
        remaining_seconds=status.estimated_remaining_seconds,
    )


def _differs(before: LiveProgress | None, live: LiveProgress) -> bool:
    if before is None or before.phase != live.phase:
        return True
    percents = [said.progress.percent if said.progress else None for said in (before, live)]
    return percents[0] != percents[1]


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _count(text: str | None) -> int | None:
    number = _number(text)
    return int(number) if number is not None and 0 <= number <= MAX_COUNT else None


def _decimal(text: str | None) -> str | None:
    """A loss that is not a number is worth showing: `nan` and `inf` stay."""
    number = _number(text)
    return None if number is None else f"{number:.6g}"


async def _read(request: web.Request) -> Body:
    async with asyncio.timeout(BODY_SECONDS):
        content = await request.read()
    try:
        return Body.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise web.HTTPUnprocessableEntity(text=f"{where}: {first['msg']}") from error


def _failure(code: HTTPStatus, message: str) -> web.Response:
    status: dict[str, str | int] = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": message,
        "reason": _REASONS.get(code, code.phrase.replace(" ", "")),
        "code": int(code),
    }
    return web.Response(status=code, text=json.dumps(status), content_type="application/json")


# As the API server names them, where that is not the HTTP phrase.
_REASONS: dict[HTTPStatus, Literal["Invalid", "RequestEntityTooLarge", "Timeout"]] = {
    HTTPStatus.UNPROCESSABLE_ENTITY: "Invalid",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "RequestEntityTooLarge",
    HTTPStatus.REQUEST_TIMEOUT: "Timeout",
}
