"""The reporter against a real HTTPS server of this machine, with a certificate authority of its own."""

import datetime as dt
import http.server
import ipaddress
import json
import logging
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from typing_extensions import override

from finetune_api.report import Report
from finetune_trainer.reporters.operator import OperatorReporter, Server
from finetune_trainer.training.outcome import TrainingProgress

LIMIT_SECONDS = 30


@dataclass
class Listener:
    """A report server. answers: status codes to give, then 200."""

    server: Server
    answers: list[int] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def wait_for(self, count: int) -> None:
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.bodies) >= count, LIMIT_SECONDS), self.bodies


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificate and key of 127.0.0.1, which is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "reports")])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(built.public_bytes(serialization.Encoding.PEM) + secret)
    return path


@pytest.fixture
def listener(certificate: Path, tmp_path: Path) -> Iterator[Listener]:
    token = tmp_path / "token"
    token.write_text("first\n")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with heard.arrived:
                heard.bodies.append(body)
                heard.tokens.append(self.headers["Authorization"])
                code = heard.answers.pop(0) if heard.answers else 200
                heard.arrived.notify_all()
            self.send_response(code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        @override
        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        url = f"https://127.0.0.1:{server.server_address[1]}/status"
        heard = Listener(Server(url, certificate, token))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield heard
        server.shutdown()
        thread.join()


def progress(step: int, *, loss: float | None = 0.5) -> TrainingProgress:
    return TrainingProgress(step, 200, step / 100, loss, 31.25, 610)


def metrics(body: dict[str, Any]) -> dict[str, str]:
    return {m["name"]: m["value"] for m in body["trainerStatus"]["metrics"]}


def test_a_phase_is_told_at_once_and_a_step_within_the_interval(listener: Listener) -> None:
    with OperatorReporter(listener.server, interval=0.05) as reporter:
        reporter.begin("Training")
        listener.wait_for(1)
        reporter.trained(progress(84))
        listener.wait_for(2)
    first, second = listener.bodies[:2]
    assert metrics(first) == {"phase": "Training"}
    assert "progressPercentage" not in first["trainerStatus"]
    assert second["trainerStatus"]["progressPercentage"] == 42
    assert second["trainerStatus"]["estimatedRemainingSeconds"] == 610
    assert metrics(second) == {
        "phase": "Training", "current_step": "84", "total_steps": "200", "current_epoch": "0.84",
        "loss": "0.5", "samples_per_second": "31.25", "resumed_step": "0",
    }  # fmt: skip
    dt.datetime.fromisoformat(second["trainerStatus"]["lastUpdatedTime"])
    assert listener.tokens[0] == "Bearer first"


def test_what_takes_long_before_training_is_a_sign_of_life(listener: Listener) -> None:
    with OperatorReporter(listener.server, interval=0.02) as reporter:
        reporter.fetched("hf://owner/model", 1000, 4000)
        listener.wait_for(1)
        reporter.begin("Baseline")
        listener.wait_for(2)
        reporter.encoded(64, 200)
        listener.wait_for(3)
    found = [metrics(body) for body in listener.bodies]
    assert found[0] == {"phase": "Preparing", "fetched_bytes": "1000"}
    assert found[-1] == {"phase": "Baseline", "encoded_inputs": "64"}


def test_checkpoints_are_told_at_once(listener: Listener) -> None:
    with OperatorReporter(listener.server, interval=1000) as reporter:
        reporter.resumed(80, 200)
        listener.wait_for(1)
        reporter.trained(progress(84))
        reporter.checkpointed(84)
        listener.wait_for(2)
    assert metrics(listener.bodies[0]) == {"phase": "Preparing", "resumed_step": "80"}
    second = metrics(listener.bodies[1])
    assert (second["resumed_step"], second["checkpoint_step"], second["current_step"]) == ("80", "84", "84")


def test_steps_in_between_are_not_told_one_by_one(listener: Listener) -> None:
    with OperatorReporter(listener.server, interval=1000) as reporter:
        reporter.begin("Training")
        listener.wait_for(1)
        for step in range(1, 100):
            reporter.trained(progress(step))
        reporter.begin("Evaluating")
        listener.wait_for(2)
    assert len(listener.bodies) == 2
    assert metrics(listener.bodies[1])["phase"] == "Evaluating"
    assert metrics(listener.bodies[1])["current_step"] == "99"


def test_a_token_that_was_replaced_is_read_anew(listener: Listener) -> None:
    with OperatorReporter(listener.server, interval=0.05) as reporter:
        reporter.begin("Training")
        listener.wait_for(1)
        listener.server.token.write_text("second")
        reporter.begin("Evaluating")
        listener.wait_for(2)
    assert listener.tokens[1] == "Bearer second"


def test_what_is_not_a_number_travels_as_text(listener: Listener) -> None:
    with OperatorReporter(listener.server, interval=0.05) as reporter:
        reporter.trained(progress(1, loss=float("nan")))
        listener.wait_for(1)
    assert metrics(listener.bodies[0])["loss"] == "nan"


def test_the_final_report_is_tried_again(listener: Listener) -> None:
    listener.answers = [503, 500]
    report = Report(uid="u-1", run=2, outcome="Succeeded")
    with OperatorReporter(listener.server, pause=0.0) as reporter:
        assert reporter.finish(report)
    assert [body["report"] for body in listener.bodies] == [report.to_dict()] * 3


def test_nothing_is_told_after_the_final_report(listener: Listener) -> None:
    with OperatorReporter(listener.server, interval=0.0) as reporter:
        reporter.begin("Publishing")
        assert reporter.finish(Report(uid="u-1", run=2, outcome="Succeeded"))
        reporter.begin("Publishing")
    assert "report" in listener.bodies[-1]


def test_an_operator_that_is_down_never_stops_a_run(
    tmp_path: Path, certificate: Path, caplog: pytest.LogCaptureFixture
) -> None:
    token = tmp_path / "token"
    token.write_text("secret-token")
    down = Server("https://127.0.0.1:9/status", certificate, token)
    with caplog.at_level(logging.WARNING), OperatorReporter(down, interval=0.01, pause=0.0) as reporter:
        reporter.begin("Training")
        reporter.trained(progress(1))
        assert not reporter.finish(Report(uid="u", run=1, outcome="Succeeded"))
    assert [r.message for r in caplog.records if "cannot be told" in r.message] != []
    assert len([r for r in caplog.records if "cannot be told" in r.message]) == 1
    assert "secret-token" not in caplog.text


@pytest.mark.parametrize("missing", ["ca", "token"])
def test_a_missing_file_never_stops_a_run(listener: Listener, missing: str, tmp_path: Path) -> None:
    files = {"ca": listener.server.ca, "token": listener.server.token, missing: tmp_path / "gone"}
    server = Server(listener.server.url, files["ca"], files["token"])
    with OperatorReporter(server, pause=0.0) as reporter:
        reporter.begin("Training")
        assert not reporter.finish(Report(uid="u", run=1, outcome="Succeeded"))
    assert listener.bodies == []


def test_a_server_with_another_certificate_is_not_told(listener: Listener, tmp_path: Path) -> None:
    import certifi

    server = Server(listener.server.url, Path(certifi.where()), listener.server.token)
    with OperatorReporter(server, pause=0.0) as reporter:
        assert not reporter.finish(Report(uid="u", run=1, outcome="Succeeded"))
    assert listener.bodies == []
