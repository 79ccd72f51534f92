"""The receiver of reports: whole answers, and what it leaves in the memory and on the queue."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from finetune_api.report import Report
from finetune_operator import reports
from finetune_operator.decisions.observed import PostedReport
from finetune_operator.identity import NotAllowed, Sender
from finetune_operator.kube import ApiFailure
from finetune_operator.memory import Key, Memory
from finetune_operator.reports import MAX_BODY_BYTES, Receiver
from finetune_operator.servers import serving
from tests.cluster.ports import reserve

KEY = Key("team", "one")
PATH = "/apis/embeddings.dev/v1alpha1/namespaces/team/embeddingfinetunes/one/status"
GOOD, NEWER, FOREIGN, DOWN = "good", "newer", "foreign", "down"
ORDER, NEWER_ORDER = ("2026-01-01T00:00:00Z", "one-1-a"), ("2026-01-01T00:01:00Z", "one-1-b")
POD, NEWER_POD = Sender(KEY, "u1", 1, "pod-1", ORDER), Sender(KEY, "u1", 1, "pod-2", NEWER_ORDER)
FINETUNE = {"metadata": {"namespace": "team", "name": "one", "uid": "u1", "resourceVersion": "1"}}
TIME = "2026-01-01T00:00:00+00:00"


class FakeSenders:
    """Tokens by name."""

    def __init__(self, identified: threading.Event) -> None:
        self._identified = identified
        self.asked: list[str] = []

    def recall(self, token: str) -> Sender | None:
        return NEWER_POD if token == NEWER else None

    def identify(self, token: str) -> Sender:
        self._identified.set()
        self.asked.append(token)
        if token == DOWN:
            raise ApiFailure("planted")
        if token not in {GOOD, FOREIGN}:
            raise NotAllowed("the API server does not accept the token")
        return POD if token == GOOD else Sender(Key("team", "other"), "u1", 1, "pod-1", ORDER)


class Bench:
    """A receiver with what it did."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.memory.observe(FINETUNE)
        self.changed: list[tuple[Key, bool]] = []
        self.counted: list[str] = []
        self.identified = threading.Event()
        self.senders = FakeSenders(self.identified)
        self.now = 0.0
        self.client: TestClient[Any, Any]

    async def post(
        self, body: Any = None, *, token: str | None = GOOD, path: str = PATH, **options: Any
    ) -> tuple[int, Any]:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.client.post(
            path, data=options.pop("data", data), headers=headers, **options
        ) as answer:
            return answer.status, json.loads(await answer.text())


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    receiver = Receiver(
        bench.senders,
        bench.memory,
        lambda key, urgent: bench.changed.append((key, urgent)),
        count=bench.counted.append,
        monotonic=lambda: bench.now,
    )
    async with TestClient(TestServer(receiver.app())) as client:
        bench.client = client
        yield bench
    receiver.close()


def progress(percent: int = 42, **metrics: str) -> dict[str, Any]:
    values = [{"name": name, "value": value} for name, value in metrics.items()]
    return {"trainerStatus": {"progressPercentage": percent, "lastUpdatedTime": TIME, "metrics": values}}


def failure(code: int, reason: str, message: str) -> tuple[int, dict[str, Any]]:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason}
    return code, {**body, "code": code}


async def test_progress_is_echoed_and_remembered(bench: Bench) -> None:
    sent = progress(
        42, phase="Training", current_step="66", total_steps="157", current_epoch="0.42", loss="0.3123456789",
        samples_per_second="31.2", learning_rate="2e-05",
    )  # fmt: skip
    sent["trainerStatus"]["estimatedRemainingSeconds"] = 610
    code, body = await bench.post(sent)
    assert code == 200
    assert body["trainerStatus"]["progressPercentage"] == 42
    live, _ = bench.memory.reported("u1", 1)
    assert live is not None
    assert live.progress is not None
    assert live.phase == "Training"
    assert live.progress.to_dict() == {
        "percent": 42, "step": 66, "totalSteps": 157, "epoch": "0.42", "loss": "0.312346",
        "samplesPerSecond": "31.2", "remainingSeconds": 610,
    }  # fmt: skip


async def test_a_client_that_names_no_phase_is_training(bench: Bench) -> None:
    """As transformers' own callback reports."""
    await bench.post(progress(1, current_step="1", loss="nan", epoch="inf"))
    live, _ = bench.memory.reported("u1", 1)
    assert live is not None
    assert live.progress is not None
    assert (live.phase, live.progress.loss) == ("Training", "nan")


async def test_status_follows_a_new_phase_at_once_and_a_new_percent_later(bench: Bench) -> None:
    for body in (
        progress(0, phase="Preparing"),
        progress(0, phase="Preparing"),
        progress(0, phase="Training"),
        progress(1, phase="Training"),
        progress(1, phase="Training"),
    ):
        assert (await bench.post(body))[0] == 200
    assert bench.changed == [(KEY, True), (KEY, True), (KEY, False)]


async def test_the_final_report_is_remembered_and_urgent(bench: Bench) -> None:
    report = {"version": 1, "uid": "u1", "run": 1, "outcome": "Succeeded"}
    assert (await bench.post({"report": report}))[0] == 200
    assert bench.memory.reported("u1", 1)[1] == PostedReport(
        Report(uid="u1", run=1, outcome="Succeeded"), "pod-1", ORDER
    )
    assert bench.changed == [(KEY, True)]


async def test_the_same_final_report_once_more_is_no_news(bench: Bench) -> None:
    report = {"version": 1, "uid": "u1", "run": 1, "outcome": "Succeeded"}
    for _ in range(3):
        assert (await bench.post({"report": report}))[0] == 200
    assert bench.changed == [(KEY, True)]


@pytest.mark.parametrize(
    ("posts", "kept"),
    [
        pytest.param(
            [(NEWER, "Failed"), (GOOD, "Failed")], ("pod-2", "Failed"), id="of two failures, the newer pod's"
        ),
        pytest.param([(GOOD, "Failed"), (NEWER, "Failed")], ("pod-2", "Failed"), id="a later failure"),
        pytest.param(
            [(NEWER, "Failed"), (GOOD, "Succeeded")], ("pod-1", "Succeeded"), id="any pod's success"
        ),
        pytest.param(
            [(GOOD, "Succeeded"), (NEWER, "Failed")], ("pod-1", "Succeeded"), id="a success, for ever"
        ),
    ],
)
async def test_of_the_final_reports_of_a_runs_pods_the_one_that_tells_most_is_kept(
    bench: Bench, posts: list[tuple[str, str]], kept: tuple[str, str]
) -> None:
    for token, outcome in posts:
        report = {"version": 1, "uid": "u1", "run": 1, "outcome": outcome}
        assert (await bench.post({"report": report}, token=token))[0] == 200
    posted = bench.memory.reported("u1", 1)[1]
    assert posted is not None
    assert (posted.pod_uid, posted.report.outcome) == kept


async def test_what_an_older_pod_of_the_run_still_says_is_answered_and_not_taken(bench: Bench) -> None:
    await bench.post(progress(1), token=NEWER)
    assert (await bench.post(progress(99)))[0] == 200
    live, _ = bench.memory.reported("u1", 1)
    assert live is not None
    assert live.pod_uid == "pod-2"
    assert bench.changed == [(KEY, True)]


async def test_a_run_that_another_has_followed_is_not_found(bench: Bench) -> None:
    metadata = {**FINETUNE["metadata"], "resourceVersion": "2"}
    bench.memory.observe({"metadata": metadata, "status": {"run": {"number": 2}}})
    code, answer = await bench.post(progress())
    assert (code, answer["message"]) == (404, "team/one is gone, or run 1 is over")


async def test_a_pod_that_reports_without_end_is_told_to_wait_and_others_are_not(bench: Bench) -> None:
    codes = [(await bench.post({}))[0] for _ in range(reports.REPORTS_BURST + 1)]
    assert codes == [200] * reports.REPORTS_BURST + [429]
    assert (await bench.post({}, token=NEWER))[0] == 200
    bench.now += 1
    assert [(await bench.post({}))[0] for _ in range(11)] == [200] * 10 + [429]


async def test_an_address_whose_tokens_are_refused_cannot_keep_the_api_server_busy(bench: Bench) -> None:
    """Known pods are not asked about, so they are let in even from that address."""
    burst = reports.REFUSALS_BURST
    codes = [(await bench.post({}, token="forged"))[0] for _ in range(burst + 5)]
    assert codes == [403] * burst + [429] * 5
    assert len(bench.senders.asked) == burst
    assert (await bench.post({}, token=NEWER))[0] == 200
    bench.now += 1
    assert (await bench.post({}))[0] == 200


async def test_pods_that_are_let_in_never_use_up_what_their_address_may_ask(bench: Bench) -> None:
    for step in range(reports.REFUSALS_BURST + 5):
        bench.now = step
        assert (await bench.post({}))[0] == 200


async def test_an_empty_body_changes_nothing(bench: Bench) -> None:
    assert await bench.post({}) == (200, {})
    assert bench.changed == []


async def test_without_a_token_nothing_is_taken(bench: Bench) -> None:
    assert await bench.post(progress(), token=None) == failure(403, "Forbidden", "a bearer token is required")
    assert bench.changed == []


async def test_an_unknown_token_is_refused(bench: Bench) -> None:
    expected = failure(403, "Forbidden", "the API server does not accept the token")
    assert await bench.post(progress(), token="forged") == expected


async def test_a_pod_may_not_report_for_another_finetune(bench: Bench) -> None:
    expected = failure(403, "Forbidden", "the token's pod belongs to team/other, not to team/one")
    assert await bench.post(progress(), token=FOREIGN) == expected
    assert bench.memory.reported("u1", 1) == (None, None)


async def test_an_api_server_that_is_away_asks_to_try_again(bench: Bench) -> None:
    expected = failure(503, "ServiceUnavailable", "the API server does not answer; try again")
    assert await bench.post(progress(), token=DOWN) == expected


async def test_a_finetune_that_is_gone_is_not_found(bench: Bench) -> None:
    bench.memory.forget(KEY)
    assert await bench.post(progress()) == failure(404, "NotFound", "team/one is gone, or run 1 is over")
    assert bench.memory.reported("u1", 1) == (None, None)


async def test_an_unknown_path_is_not_found(bench: Bench) -> None:
    code, body = await bench.post(progress(), path="/status")
    assert (code, body["kind"], body["reason"]) == (404, "Status", "NotFound")


async def test_another_method_is_not_allowed(bench: Bench) -> None:
    async with bench.client.get(PATH) as answer:
        assert (answer.status, (await answer.json())["reason"]) == (405, "MethodNotAllowed")


async def test_a_body_that_says_it_is_too_large_is_not_read(bench: Bench) -> None:
    code, body = await bench.post(b"x" * (MAX_BODY_BYTES + 1))
    assert (code, body["reason"]) == (413, "RequestEntityTooLarge")


async def test_a_body_that_does_not_say_how_large_it_is_is_cut_off(bench: Bench) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b"x" * 1024

    code, body = await bench.post(data=endless())
    assert (code, body["reason"]) == (413, "RequestEntityTooLarge")


async def test_a_large_body_of_a_stranger_is_refused_for_the_token(bench: Bench) -> None:
    code, _ = await bench.post(b"x" * (MAX_BODY_BYTES - 1), token="forged")
    assert code == 403


async def test_a_body_that_does_not_come_is_given_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "BODY_SECONDS", 0.05)
    never = asyncio.Event()

    async def stuck() -> AsyncIterator[bytes]:
        yield b"{"
        await never.wait()

    code, body = await bench.post(data=stuck())
    assert (code, body["reason"]) == (408, "Timeout")


async def test_of_two_equal_keys_the_last_one_counts_and_is_checked(bench: Bench) -> None:
    twice = b'{"trainerStatus": {"lastUpdatedTime": "2026-01-01T00:00:00Z", "progressPercentage": 1, %b}}'
    assert (await bench.post(twice % b'"progressPercentage": 2'))[0] == 200
    live, _ = bench.memory.reported("u1", 1)
    assert live is not None
    assert live.progress is not None
    assert live.progress.percent == 2
    assert (await bench.post(twice % b'"progressPercentage": 101'))[0] == 422


TOO_MANY = progress()
TOO_MANY["trainerStatus"]["metrics"] = [{"name": "loss", "value": "1"}] * 257
NO_TIME = {"trainerStatus": {"progressPercentage": 1}}
DEEP = b'{"trainerStatus":' + b"[" * 30_000 + b"]" * 30_000 + b"}"
NAN = b'{"trainerStatus": {"lastUpdatedTime": "2026-01-01T00:00:00Z", "progressPercentage": NaN}}'
INFINITE = NAN.replace(b'"progressPercentage": NaN', b'"estimatedRemainingSeconds": Infinity')
OTHER_RUN = {"report": {"version": 1, "uid": "u1", "run": 2, "outcome": "Succeeded"}}
OTHER_UID = {"report": {"version": 1, "uid": "u2", "run": 1, "outcome": "Succeeded"}}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(b"", "Invalid JSON", id="empty"),
        pytest.param(b"[]", "body: ", id="not an object"),
        pytest.param(b"{", "Invalid JSON", id="not JSON"),
        pytest.param(DEEP, "recursion", id="nested deeply"),
        pytest.param(progress(-1), "trainerStatus.progressPercentage", id="below 0"),
        pytest.param(progress(101), "trainerStatus.progressPercentage", id="above 100"),
        pytest.param(NAN, "trainerStatus.progressPercentage", id="NaN"),
        pytest.param(INFINITE, "trainerStatus.estimatedRemainingSeconds", id="Infinity"),
        pytest.param(progress(1, phase="Lunch"), "metric phase must be one of Preparing", id="unknown phase"),
        pytest.param(progress(1, **{"x" * 65: "1"}), "trainerStatus.metrics.0.name", id="long name"),
        pytest.param(progress(1, loss="1" * 65), "trainerStatus.metrics.0.value", id="long value"),
        pytest.param(TOO_MANY, "trainerStatus.metrics", id="too many metrics"),
        pytest.param(NO_TIME, "trainerStatus.lastUpdatedTime", id="no time"),
        pytest.param({"report": {"version": 1}}, "report.uid", id="half a report"),
        pytest.param(OTHER_RUN, "report: uid and run must be u1 and 1, found u1 and 2", id="another run"),
        pytest.param(
            OTHER_UID, "report: uid and run must be u1 and 1, found u2 and 1", id="another finetune"
        ),
    ],
)
async def test_what_cannot_be_understood_is_invalid_and_says_where(
    bench: Bench, body: Any, message: str
) -> None:
    code, answer = await bench.post(body)
    assert (code, answer["reason"]) == (422, "Invalid")
    assert message in answer["message"]
    assert bench.memory.reported("u1", 1) == (None, None)


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "1e300", "many"])
async def test_a_step_that_is_no_count_is_left_out(bench: Bench, value: str) -> None:
    assert (await bench.post(progress(1, current_step=value)))[0] == 200
    live, _ = bench.memory.reported("u1", 1)
    assert live is not None
    assert live.progress is not None
    assert live.progress.step is None


async def test_a_pod_that_breaks_off_is_counted_and_no_error_of_ours(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """On the real server: the test server would cancel the handler instead."""
    bench, counted = Bench(), asyncio.Queue[str]()
    receiver = Receiver(bench.senders, bench.memory, lambda *_: None, count=counted.put_nowait)
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {GOOD}\r\nContent-Length: 10\r\n\r\n{{"
    with reserve(1) as (port,):
        async with serving(receiver.app(), address="127.0.0.1", port=port):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head.encode())
            assert await asyncio.to_thread(bench.identified.wait, 10)
            writer.close()
            assert await asyncio.wait_for(counted.get(), 10) == "400"
    receiver.close()
    assert not caplog.records


async def test_every_answer_is_counted(bench: Bench) -> None:
    await bench.post(progress())
    await bench.post(progress(), token="forged")
    await bench.post(b"{")
    assert bench.counted == ["200", "403", "422"]
