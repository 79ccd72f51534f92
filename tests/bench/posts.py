"""Progress reports as pods post them: over HTTPS, each with its own token, as many as are accepted."""

import asyncio
import itertools
import ssl
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp

from finetune_api import names
from finetune_api.run_file import CA_FILE
from tests.bench.load import Load
from tests.operator.process import Operator

AUDIENCE = "embeddings.dev/reports"
CONNECTIONS = 16
TOKEN_SECONDS = 3600


@dataclass(frozen=True)
class Posted:
    """Answers to reports by HTTP status."""

    seconds: float
    answers: dict[int, int]

    @property
    def accepted_per_second(self) -> float:
        return self.answers.get(200, 0) / self.seconds


def post(load: Load, operator: Operator, finetunes: Sequence[str], seconds: float) -> Posted:
    """Every pod reports again and again for so long, over connections that stay open."""
    tokens = {name: _token(load, name) for name in finetunes}
    config = load.client.get(f"/api/v1/namespaces/{load.namespace}/configmaps/{finetunes[0]}-1")
    assert config is not None
    tls = ssl.create_default_context(cadata=config["data"][CA_FILE])
    return asyncio.run(_post_all(_urls(load, operator, tokens), tls, seconds))


def _token(load: Load, name: str) -> str:
    pod = load.pods[name]
    reference = {"apiVersion": "v1", "kind": "Pod", "name": pod["name"], "uid": pod["uid"]}
    spec = {"audiences": [AUDIENCE], "expirationSeconds": TOKEN_SECONDS, "boundObjectRef": reference}
    path = f"/api/v1/namespaces/{load.namespace}/serviceaccounts/default/token"
    return str(load.client.create(path, {"spec": spec})["status"]["token"])


def _urls(load: Load, operator: Operator, tokens: dict[str, str]) -> list[tuple[str, str]]:
    path = f"/apis/{names.API_VERSION}/namespaces/{load.namespace}/{names.PLURAL}"
    return [(f"{operator.report_url}{path}/{name}/status", token) for name, token in tokens.items()]


async def _post_all(targets: list[tuple[str, str]], tls: ssl.SSLContext, seconds: float) -> Posted:
    answers: dict[int, int] = {}
    turns: Iterator[tuple[int, tuple[str, str]]] = (
        (percent % 101, target) for percent in itertools.count() for target in targets
    )
    began = time.monotonic()

    async def work(session: aiohttp.ClientSession) -> None:
        while time.monotonic() - began < seconds:
            percent, (url, token) = next(turns)
            headers = {"Authorization": f"Bearer {token}"}
            async with session.post(url, json=_body(percent), headers=headers) as answer:
                await answer.read()
                answers[answer.status] = answers.get(answer.status, 0) + 1

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session:
        await asyncio.gather(*(work(session) for _ in range(CONNECTIONS)))
    return Posted(time.monotonic() - began, answers)


def _body(percent: int) -> dict[str, Any]:
    values = {"phase": "Training", "current_step": str(percent), "total_steps": "100", "loss": "0.5"}
    status = {
        "progressPercentage": percent,
        "estimatedRemainingSeconds": 100 - percent,
        "metrics": [{"name": name, "value": value} for name, value in values.items()],
        "lastUpdatedTime": datetime.now(UTC).isoformat(),
    }
    return {"trainerStatus": status}
