"""transformers' own KubeflowCallback, as it is, in a real training, against the operator's receiver."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from transformers import TrainerCallback
from transformers.integrations.integration_utils import KubeflowCallback
from typing_extensions import override

from finetune_api import run_file
from finetune_operator.decisions.observed import LiveProgress
from finetune_operator.identity import NotAllowed, Sender
from finetune_operator.memory import Key, Memory
from finetune_operator.reports import Receiver
from finetune_operator.servers import serving
from finetune_trainer.reporters.operator import OperatorReporter, Server
from tests.cluster.ports import reserve
from tests.cluster.waiting import eventually
from tests.trainer.builders import pairs
from tests.trainer.servers.certificates import write_certificate

pytestmark = pytest.mark.training

KEY, TOKEN = Key("team", "one"), "of-the-pod"
PATH = "/apis/embeddings.dev/v1alpha1/namespaces/team/embeddingfinetunes/one/status"
FINETUNE = {"metadata": {"namespace": "team", "name": "one", "uid": "u1", "resourceVersion": "1"}}


class OnePod:
    """Knows the one token that there is."""

    def recall(self, token: str) -> Sender | None:
        if token != TOKEN:
            raise NotAllowed("not that pod")
        return self.identify(token)

    def identify(self, token: str) -> Sender:  # noqa: ARG002 - seen before
        return Sender(KEY, "u1", 1, "pod-1", ("2026-01-01T00:00:00Z", "one-1-a"))


@dataclass
class Running:
    """answers: status codes of all POSTs so far."""

    server: Server
    memory: Memory
    answers: list[str] = field(default_factory=list)

    @property
    def live(self) -> LiveProgress | None:
        return self.memory.reported("u1", 1)[0]


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """The receiver on a thread of its own, and the variables that a pod has."""
    certificate = write_certificate(tmp_path, ["localhost"], ["127.0.0.1"])
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    with reserve(1) as (port,):
        server = Server(f"https://127.0.0.1:{port}{PATH}", certificate, tmp_path / "token")
        running = Running(server, Memory())
        running.memory.observe(FINETUNE)
        monkeypatch.setenv(run_file.ENV_SERVER_URL, server.url)
        monkeypatch.setenv(run_file.ENV_SERVER_CA, str(server.ca))
        monkeypatch.setenv(run_file.ENV_SERVER_TOKEN, str(server.token))
        with _served(running, certificate, port):
            yield running


@contextmanager
def _served(running: Running, certificate: Path, port: int) -> Iterator[None]:
    receiver = Receiver(OnePod(), running.memory, lambda *_: None, count=running.answers.append)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    listens, over = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with serving(receiver.app(), address="127.0.0.1", port=port, tls=tls):
            listens.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert listens.wait(30)
        yield
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()
        receiver.close()


class Heard(TrainerCallback):
    """What the operator knows after each step."""

    def __init__(self, running: Running) -> None:
        self.steps: list[tuple[Any, ...]] = []
        self._running = running

    @override
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        live = self._running.live
        assert live is not None
        assert live.progress is not None
        self.steps.append((live.phase, live.progress.step, live.progress.percent, live.progress.loss))


def a_trainer(
    path: Path, folder: Path, running: Running, *, learning_rate: float = 1e-3
) -> tuple[Any, Heard]:
    """Four steps, logged one by one; with the callback where transformers puts it by itself."""
    model = SentenceTransformer(str(path), device="cpu")
    rows = pairs(32)
    heard = Heard(running)
    trainer = SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(
            str(folder), num_train_epochs=1, per_device_train_batch_size=8, learning_rate=learning_rate,
            logging_steps=1, logging_nan_inf_filter=False, save_strategy="no", use_cpu=True,
            disable_tqdm=True, report_to="none", dataloader_pin_memory=False,
        ),
        train_dataset=Dataset.from_list([{"query": r["q"], "positive": r["p"]} for r in rows]),
        loss=MultipleNegativesRankingLoss(model),
        callbacks=[heard],
    )  # fmt: skip
    (callback,) = [c for c in trainer.callback_handler.callbacks if type(c) is KubeflowCallback]
    # Its only setting; a longer training would show the same.
    callback._MIN_UPDATE_INTERVAL = 0.0
    return trainer, heard


def test_every_report_of_a_training_is_taken(text_model: Path, tmp_path: Path, running: Running) -> None:
    trainer, heard = a_trainer(text_model, tmp_path / "out", running)
    trainer.train()
    assert running.answers == ["200"] * 6
    assert [(phase, step, percent) for phase, step, percent, _ in heard.steps] == [
        ("Training", 1, 25), ("Training", 2, 50), ("Training", 3, 75), ("Training", 4, 99),
    ]  # fmt: skip
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert [loss for *_, loss in heard.steps[1:]] == [f"{loss:.6g}" for loss in losses[:3]]
    live = running.live
    assert live is not None
    assert live.progress is not None
    assert (live.progress.percent, live.progress.step, live.progress.remaining_seconds) == (100, 4, 0)


def test_what_a_training_calls_its_end_is_not_the_end_of_the_run(
    text_model: Path, tmp_path: Path, running: Running
) -> None:
    trainer, _ = a_trainer(text_model, tmp_path / "out", running)
    trainer.train()
    with OperatorReporter(running.server, interval=0.01) as reporter:
        reporter.begin("Evaluating")
        eventually(lambda: running.live is not None and running.live.phase == "Evaluating", "the phase")
    live = running.live
    assert live is not None
    assert live.progress is not None
    assert live.progress.percent == 100
    assert set(running.answers) == {"200"}


def test_a_loss_that_is_no_number_is_shown_as_such(
    text_model: Path, tmp_path: Path, running: Running
) -> None:
    trainer, heard = a_trainer(text_model, tmp_path / "out", running, learning_rate=1e30)
    trainer.train()
    assert set(running.answers) == {"200"}
    assert heard.steps[-1][3] == "nan"
