"""A process that holds finetunes and serves their metrics and takes their reports, as the operator does."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from finetune_api import names
from finetune_operator import servers
from finetune_operator.identity import Sender
from finetune_operator.memory import Key, Memory
from finetune_operator.metrics import OperatorMetrics
from finetune_operator.metrics.exposition import FinetuneText
from finetune_operator.reports import Receiver
from tests.operator.scraped import STATUS, a_finetune

NAMESPACE = "team"
TIME = "2026-01-01T00:00:00Z"
# Reports come from so many of them in turn: more than ever train at once.
REPORTING = 1000


@dataclass(frozen=True)
class Ports:
    """Of one process."""

    metrics: int
    reports: int

    def report_url(self, number: int) -> str:
        path = f"/apis/{names.API_VERSION}/namespaces/{NAMESPACE}/{names.PLURAL}"
        return f"http://127.0.0.1:{self.reports}{path}/{_name(number % REPORTING)}/status"

    def report(self, number: int) -> dict[str, Any]:
        """Body and headers of a report by the pod of that finetune."""
        loss = {"name": "loss", "value": f"{1 / (number + 1):.4f}"}
        status = {
            "progressPercentage": number % 100,
            "estimatedRemainingSeconds": 60,
            "metrics": [loss, {"name": "samples_per_second", "value": "31.2"}],
            "lastUpdatedTime": datetime.now(UTC).isoformat(),
        }
        token = {"Authorization": f"Bearer {number % REPORTING}"}
        return {"json": {"trainerStatus": status}, "headers": token}


class Senders:
    """A token is the number of its finetune."""

    def recall(self, token: str) -> Sender | None:
        return Sender(Key(NAMESPACE, _name(int(token))), _uid(int(token)), 1, token, (TIME, token))

    def identify(self, token: str) -> Sender:
        raise AssertionError(f"{token} is known")


def serve(finetunes: int, ports: Ports, anew: bool) -> None:
    """Serve until the process is terminated."""
    memory = Memory()
    for number in range(finetunes):
        memory.observe(_finetune(number))
    metrics = OperatorMetrics(memory, lambda: 0)
    receiver = Receiver(Senders(), memory, lambda *_: None, count=metrics.count_report)

    def render_anew() -> Iterator[bytes]:
        return FinetuneText(memory).render()

    health = servers.health_app(render_anew if anew else metrics.render, lambda: True)

    async def run() -> None:
        async with (
            servers.serving(health, address="127.0.0.1", port=ports.metrics),
            servers.serving(receiver.app(), address="127.0.0.1", port=ports.reports),
        ):
            await asyncio.Event().wait()

    asyncio.run(run())


def _name(number: int) -> str:
    return f"finetune-{number:05}"


def _uid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


def _finetune(number: int) -> dict[str, Any]:
    """One that trains a second time: it has the numbers of its first run."""
    gate = {"evaluator": "dev", "metric": "ndcg@10", "passed": True, "message": "found 0.72, wanted 0.5"}
    further = [{"name": f"{name}_cosine_ndcg@10", "baseline": "0.61", "tuned": "0.7"} for name in "abc"]
    evaluation = {**STATUS["evaluation"], "gates": [gate], "metrics": further}
    return a_finetune(_uid(number), _name(number), evaluation=evaluation)
