"""The HTTPS receiver of what pods report: live progress and, at the end, the Report.

Answers are those of Kubeflow Trainer's status server, so its clients can report here too; errors are
Kubernetes Status objects. The sender is found out from the headers before any of the body is read. What is
accepted goes into the memory and its key onto the queue: nothing is written to the API server here.
"""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Literal, Protocol

from aiohttp import web

from finetune_api import names
from finetune_operator.decisions.observed import LiveProgress, PostedReport
from finetune_operator.identity import NotAllowed, Sender
from finetune_operator.kube import ApiFailure, Conflict
from finetune_operator.limits import RateLimit
from finetune_operator.memory import Key, Memory
from finetune_operator.progress import follow, supersedes
from finetune_operator.wire import Body, Malformed, TrainerStatus, parse_body

logger = logging.getLogger(__name__)

PATH = f"/apis/{names.API_VERSION}/namespaces/{{namespace}}/{names.PLURAL}/{{name}}/status"
MAX_BODY_BYTES = 64 * 1024
BODY_SECONDS = 10.0
# A TokenReview and two reads for a token seen for the first time; more at once would only queue elsewhere.
IDENTIFYING_THREADS = 4
# Trainers report every 5 s and at a new phase.
REPORTS_PER_SECOND, REPORTS_BURST = 10.0, 100
# Of one address. What it costs the API server to refuse a forged token must not be for free; pods that are
# let in do not count, however many share the address of their node.
REFUSALS_PER_SECOND, REFUSALS_BURST = 5.0, 200
RETRY_AFTER_SECONDS = 2


class TooMany(Exception):
    """The sender must wait; the message says for what."""


class Identifies(Protocol):
    """Finds the sender from a token; `identity.Senders` does it."""

    def recall(self, token: str) -> Sender | None: ...

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
        may_act: Callable[[], bool] = lambda: True,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._senders = senders
        self._memory = memory
        self._changed = changed
        self._count = count
        self._may_act = may_act
        self._now = now
        self._threads = ThreadPoolExecutor(IDENTIFYING_THREADS, thread_name_prefix="identify")
        self._reports = RateLimit(per_second=REPORTS_PER_SECOND, burst=REPORTS_BURST, monotonic=monotonic)
        self._refusals = RateLimit(per_second=REFUSALS_PER_SECOND, burst=REFUSALS_BURST, monotonic=monotonic)

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
        except Malformed as error:
            response = _failure(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        except NotAllowed as error:
            response = _failure(HTTPStatus.FORBIDDEN, str(error))
        except TooMany as error:
            response = _failure(HTTPStatus.TOO_MANY_REQUESTS, str(error))
            response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
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
        sender = await self._sender_of(request)
        key = Key(request.match_info["namespace"], request.match_info["name"])
        if sender.key != key:
            raise NotAllowed(f"the token's pod belongs to {'/'.join(sender.key)}, not to {'/'.join(key)}")
        if not self._reports.take(sender.pod_uid):
            raise TooMany(f"the pod reports more often than {REPORTS_PER_SECOND:.0f} times a second")
        async with asyncio.timeout(BODY_SECONDS):
            content = await request.read()
        body = parse_body(content)
        if body.report is not None and (body.report.uid, body.report.run) != (sender.uid, sender.run):
            raise Malformed(
                f"report: uid and run must be {sender.uid} and {sender.run},"
                f" found {body.report.uid} and {body.report.run}"
            )
        if not self._may_act():
            raise web.HTTPServiceUnavailable(text="this replica no longer leads; try again")
        if not self._take(sender, body):
            raise web.HTTPNotFound(text=f"{'/'.join(key)} is gone, or run {sender.run} is over")
        return web.Response(
            text=body.model_dump_json(by_alias=True, exclude_none=True), content_type="application/json"
        )

    async def _sender_of(self, request: web.Request) -> Sender:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise NotAllowed("a bearer token is required")
        length = request.content_length
        if length is not None and length > MAX_BODY_BYTES:
            raise web.HTTPRequestEntityTooLarge(MAX_BODY_BYTES, length)
        known = self._senders.recall(token.strip())
        return known or await self._identify(token.strip(), request.remote)

    async def _identify(self, token: str, address: str | None) -> Sender:
        """Taken from the allowance before it is known whether it is a refusal: they come in parallel."""
        if not self._refusals.take(address):
            raise TooMany("too many tokens from this address were refused")
        loop = asyncio.get_running_loop()
        is_refused = False
        try:
            return await loop.run_in_executor(self._threads, self._senders.identify, token)
        except NotAllowed:
            is_refused = True
            raise
        finally:
            if not is_refused:
                self._refusals.give_back(address)

    def _take(self, sender: Sender, body: Body) -> bool:
        """Remember it, and have status brought up to date if it would differ. False: nobody waits for it."""
        if not self._memory.expects(sender.key, sender.uid, sender.run):
            return False
        if body.trainer_status is not None:
            self._take_progress(sender, body.trainer_status)
        if body.report is not None:
            self._take_report(sender, PostedReport(body.report, sender.pod_uid, sender.pod_order))
        return True

    def _take_progress(self, sender: Sender, status: TrainerStatus) -> None:
        before, _ = self._memory.reported(sender.uid, sender.run)
        live = follow(status, sender, self._now(), before)
        if live is None:
            return
        self._memory.report(sender.key, sender.uid, sender.run, live)
        if _differs(before, live):
            self._changed(sender.key, before is None or before.phase != live.phase)

    def _take_report(self, sender: Sender, report: PostedReport) -> None:
        _, kept = self._memory.reported(sender.uid, sender.run)
        if report != kept and supersedes(report, kept):
            self._memory.report(sender.key, sender.uid, sender.run, report)
            self._changed(sender.key, True)


def _differs(before: LiveProgress | None, live: LiveProgress) -> bool:
    if before is None or before.phase != live.phase:
        return True
    percents = [said.progress.percent if said.progress else None for said in (before, live)]
    return percents[0] != percents[1]


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
