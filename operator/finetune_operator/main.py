"""The composition root: everything is made here, in the order in which it must begin, and ended in reverse.

    metrics, health -> the resource is known -> Lease -> certificate -> report server -> queue -> kopf

A standby waits at the Lease, healthy and ready.
"""

import argparse
import asyncio
import contextlib
import functools
import gc
import logging
import signal
import sys
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version

from pydantic import ValidationError

from finetune_api import names
from finetune_operator import certificates, handlers, informer, leadership
from finetune_operator.clock import ClusterClock
from finetune_operator.identity import Senders
from finetune_operator.kube import connect
from finetune_operator.logs import configure_logging
from finetune_operator.memory import Key, Memory
from finetune_operator.metrics import OperatorMetrics
from finetune_operator.patience import AskedToStop, patiently
from finetune_operator.reconcile import Surroundings, reconcile
from finetune_operator.reports import IDENTIFYING_THREADS, Receiver
from finetune_operator.servers import health_app, serving
from finetune_operator.settings import Settings
from finetune_operator.workqueue import WorkQueue

logger = logging.getLogger(__name__)

DONE, FAILED, USAGE = 0, 1, 2
# Longer than the longest request with its retries; whoever is busy for so long hangs.
LONGEST_RUN_SECONDS = 180.0
DRAIN_SECONDS = 3.0
# Below the ten seconds in which a stop is promised, however long the API server keeps requests waiting.
STOP_SECONDS = 8.0
# Parsed objects come by the thousand and hold no cycles: at Python's own threshold, looking for some takes a
# twentieth of the operator's time [measured: 32.2 ms of CPU a finetune, 30.8 so].
GARBAGE_THRESHOLD = 50_000


class CannotStart(Exception):
    """Something outside must change first; the message says what."""


@dataclass
class Operator:
    """What lives as long as the process."""

    settings: Settings
    memory: Memory = field(default_factory=Memory)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    stop_threads: threading.Event = field(default_factory=threading.Event)
    clock: ClusterClock = field(default_factory=ClusterClock)
    queue: WorkQueue[Key] | None = None
    """Of the leader."""

    def __post_init__(self) -> None:
        self.metrics = OperatorMetrics(
            self.memory, self.queue_depth, per_resource=self.settings.metrics_per_resource
        )
        connections = self.settings.workers + IDENTIFYING_THREADS + 2
        self.kube = connect(
            connections=connections, count=self.metrics.count_api_request, heard=self.clock.heard
        )

    def queue_depth(self) -> float:
        return self.queue.depth if self.queue else 0

    def is_alive(self) -> bool:
        return self.queue is None or self.queue.is_alive(longest_run_seconds=LONGEST_RUN_SECONDS)

    def take_signals(self) -> None:
        """Be asked to stop by SIGTERM and SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._end)

    def _end(self) -> None:
        self.stop.set()
        self.stop_threads.set()
        leadership.end_process_in(STOP_SECONDS)


async def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. Raises CannotStart, or whatever broke the operator."""
    operator = Operator(settings)
    operator.take_signals()
    health = health_app(operator.metrics.render, operator.is_alive)
    async with serving(health, address="0.0.0.0", port=settings.health_port):  # noqa: S104 - kubelet, Prometheus
        await asyncio.to_thread(_check_resource, operator)
        # A container that was restarted after losing the Lease still has the label.
        unlabel = functools.partial(leadership.label_pod, operator.kube, settings, is_leader=False)
        await asyncio.to_thread(patiently, unlabel, operator.stop_threads)
        lease = leadership.open_lease(settings, operator.metrics.count_api_request)
        logger.info("standing by", extra={"version": version("embedding-finetune-operator")})
        if await leadership.wait_for(lease, settings, operator.stop_threads):
            async with leadership.leading(lease, settings, operator.kube, operator.stop_threads):
                operator.metrics.leader.set(1)
                operator.metrics.lease_transitions.set_function(lambda: lease.transitions)
                logger.info("leading")
                await _lead(operator, lease.is_held)
    logger.info("ended")


def _check_resource(operator: Operator) -> None:
    """An API server that is away comes back; a resource that nobody has installed does not."""
    if not patiently(operator.kube.has_finetunes, operator.stop_threads):
        raise CannotStart(
            f"The API server does not know {names.PLURAL}.{names.GROUP} in version {names.VERSION}."
            " Install the CRD first: kubectl apply -f crds/embeddingfinetunes.yaml"
        )


async def _lead(operator: Operator, may_act: leadership.MayAct) -> None:
    settings, kube = operator.settings, operator.kube.fenced(may_act)
    now = operator.clock.now
    ensure = functools.partial(
        certificates.ensure_authority, kube, settings.namespace, settings.ca_secret_name, now()
    )
    authority = await asyncio.to_thread(patiently, ensure, operator.stop_threads)
    around = Surroundings(
        kube=kube,
        settings=settings,
        memory=operator.memory,
        ca_certificate=authority.certificate_pem.decode(),
        listening_since=now(),
        now=now,
        may_act=may_act,
        written=operator.metrics.runs.count,
    )
    hosts = certificates.hosts_of(settings.report_url)
    async with _queue(operator, around) as queue, certificates.rotating(authority, hosts, now) as tls:
        senders = Senders(kube, settings.report_audience, seen=operator.memory.views.find)
        receiver = Receiver(
            senders,
            operator.memory,
            functools.partial(_report_came, queue, operator),
            count=operator.metrics.count_report,
            may_act=may_act,
            now=now,
        )
        address, port = settings.report_bind_address, settings.report_port
        with contextlib.closing(receiver):
            async with serving(receiver.app(), address=address, port=port, tls=tls):
                seen = operator.metrics.count_watch_event
                shared = handlers.Shared(queue, operator.memory, senders.pod_gone, seen, now)
                # Kopf takes the signals, and its own end by one waits 5 s for nothing.
                await informer.watch(settings, shared, operator.stop, operator.take_signals)


def _report_came(queue: WorkQueue[Key], operator: Operator, key: Key, is_urgent: bool) -> None:
    """A new phase and the end show in status at once, progress at most so often."""
    operator.memory.views.heard(key)
    if is_urgent:
        queue.add(key)
    else:
        queue.add_after(key, operator.settings.progress_interval_seconds)


@contextlib.asynccontextmanager
async def _queue(operator: Operator, around: Surroundings) -> AsyncIterator[WorkQueue[Key]]:
    """Runs that do not end soon are left alone: once the Lease is handed back, they can write nothing."""
    metrics, threads = operator.metrics, ThreadPoolExecutor(around.settings.workers, "reconcile")

    def look(key: Key) -> float | None:
        with metrics.reconcile_seconds.time(), metrics.counting_result():
            return reconcile(key, around)

    async def look_in_thread(key: Key) -> float | None:
        return await asyncio.get_running_loop().run_in_executor(threads, look, key)

    operator.queue = WorkQueue(
        look_in_thread, workers=around.settings.workers, waited=metrics.queue_seconds.observe
    )
    try:
        yield operator.queue
    finally:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(operator.queue.close(), DRAIN_SECONDS)
        operator.queue = None
        threads.shutdown(wait=False, cancel_futures=True)


def cli() -> None:
    """`finetune-operator`: run the operator in this cluster, or in that of KUBECONFIG."""
    parser = argparse.ArgumentParser(
        prog="finetune-operator",
        description="Runs EmbeddingFinetunes. Settings are environment variables:",
        epilog="Exit codes: 0 asked to stop, 1 could not start or broke down, 2 wrong usage or settings,"
        " 3 the lease was lost.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.description = "\n".join([parser.description or "", "", *_describe_settings()])
    parser.parse_args()
    try:
        settings = Settings()
    except ValidationError as error:
        parser.error("; ".join(_explain(error)))
    configure_logging(settings.log_level)
    gc.set_threshold(GARBAGE_THRESHOLD)
    try:
        asyncio.run(run(settings))
    except AskedToStop:
        logger.info("ended")
    except (CannotStart, certificates.MissingSecret) as error:
        logger.critical("cannot start", extra={"error": str(error)})
        sys.exit(FAILED)
    except Exception:
        logger.critical("broke down", exc_info=True)
        sys.exit(FAILED)


def _describe_settings() -> list[str]:
    lines = []
    for name, setting in Settings.model_fields.items():
        value = setting.get_default(call_default_factory=True, validated_data={"namespace": "<namespace>"})
        default = "required" if setting.is_required() else f"default: {value or 'none'}"
        lines.append(f"  FINETUNE_{name.upper()} ({default})")
        lines.append(f"      {setting.description}")
    return lines


def _explain(error: ValidationError) -> list[str]:
    """One line a setting; a default that another setting's error prevented is no error of its own."""
    found = [e for e in error.errors() if e["type"] != "default_factory_not_called"]
    return [f"FINETUNE_{str(e['loc'][0]).upper()}: {e['msg']}" for e in found if e["loc"]]
