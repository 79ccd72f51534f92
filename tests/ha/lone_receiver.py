"""The report server alone, as a process: for measuring it, and for what floods, without a cluster.

    python -m tests.ha.lone_receiver PORT HEALTH_PORT PODS FOLDER

Pod number n has the token `pod-<n>` and belongs to the finetune team/n; every other token is refused after
the time of a TokenReview. The authority's certificate is written into FOLDER, then the ports open.
"""

import asyncio
import ssl
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from finetune_operator.certificates import issue, load_into, new_authority
from finetune_operator.identity import NotAllowed, Sender
from finetune_operator.memory import Key, Memory
from finetune_operator.reports import Receiver
from finetune_operator.servers import health_app, serving

REVIEW_SECONDS = 0.003
# As much as 10,000 finetunes have.
METRICS = b"x" * 40_000_000


def finetune(number: int) -> dict[str, object]:
    metadata = {"namespace": "team", "name": str(number), "uid": f"u{number}", "resourceVersion": "1"}
    return {"metadata": metadata}


class Pods:
    """Knows its pods as if they had been looked up before."""

    def __init__(self, pods: int) -> None:
        self._senders = {f"pod-{n}": _sender(n) for n in range(pods)}

    def recall(self, token: str) -> Sender | None:
        return self._senders.get(token)

    def identify(self, _token: str) -> Sender:
        time.sleep(REVIEW_SECONDS)
        raise NotAllowed("the API server does not accept the token")


def _sender(number: int) -> Sender:
    order = ("2026-01-01T00:00:00Z", f"{number}-1-abcde")
    return Sender(Key("team", str(number)), f"u{number}", 1, f"pod-{number}", order)


async def main(port: int, health_port: int, pods: int, folder: Path) -> None:
    memory = Memory()
    authority = new_authority(datetime.now(UTC), ec.generate_private_key(ec.SECP256R1()))
    for number in range(pods):
        memory.observe(finetune(number))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    load_into(tls, issue(authority, ("127.0.0.1",), datetime.now(UTC)))
    receiver = Receiver(Pods(pods), memory, lambda *_: None, count=lambda _code: None)
    health = health_app(lambda: iter((METRICS,)), lambda: True)
    async with (
        serving(health, address="127.0.0.1", port=health_port),
        serving(receiver.app(), address="127.0.0.1", port=port, tls=tls),
    ):
        (folder / "ca.crt").write_bytes(authority.certificate_pem)
        (folder / "ready").touch()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])))
