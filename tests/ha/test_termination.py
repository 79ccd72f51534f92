"""SIGTERM ends a replica within ten seconds with 0, whatever it is doing, and hands the Lease on at once."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from typing_extensions import override

from tests.cluster.waiting import eventually
from tests.faults.calls import Call
from tests.faults.faults import Answer, Fault
from tests.ha.replicas import Deployment, Replica, seconds_until
from tests.operator.conftest import Finetunes

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(1800)]

SECONDS = 10.0
HANDOVER_SECONDS = 5.0
Arrange = Callable[[Replica, Finetunes], contextlib.AbstractContextManager[None]]


class Silence(Fault):
    """The API server takes every request and answers none."""

    @override
    async def instead(self, _: Call) -> Answer | None:
        await asyncio.Event().wait()
        return None


@contextlib.contextmanager
def idle(_: Replica, __: Finetunes) -> Iterator[None]:
    yield


@contextlib.contextmanager
def busy(leader: Replica, finetunes: Finetunes) -> Iterator[None]:
    """In the middle of fifty finetunes that came at once."""
    for number in range(50):
        finetunes.apply("hold", f"f-{number}")
    eventually(lambda: len(leader.writes()) > 40, "the leader is at work")
    yield


@contextlib.contextmanager
def with_open_reports(leader: Replica, finetunes: Finetunes) -> Iterator[None]:
    """One connection waits for its next request, one is in the middle of its head, one has not said hello."""
    finetunes.apply("hold")
    finetunes.await_that(lambda: finetunes.status().get("progress"), "progress")
    port = urlsplit(leader.operator.report_url).port
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(3)]
        waiting, unfinished = (stack.enter_context(trusting.wrap_socket(raw)) for raw in connections[:2])
        waiting.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        assert waiting.recv(9) == b"HTTP/1.1 "
        unfinished.sendall(b"POST /apis HTTP/1.1\r\nHost: here\r\n")
        yield


@contextlib.contextmanager
def without_answers(leader: Replica, finetunes: Finetunes) -> Iterator[None]:
    """Requests hang, among them those of the Lease."""
    leader.proxy.fault = Silence()
    finetunes.apply("hold")
    asked = len(leader.proxy.calls)
    eventually(lambda: len(leader.proxy.calls) > asked, "it waits for an answer")
    assert leader.leads(), "its metrics are there, as its health is"
    yield


@contextlib.contextmanager
def without_api_server(leader: Replica, _: Finetunes) -> Iterator[None]:
    """Connections are refused."""
    leader.proxy.go_away()
    yield
    leader.proxy.come_back()


ARRANGEMENTS = (idle, busy, with_open_reports, without_answers, without_api_server)


@pytest.mark.parametrize("arrange", [pytest.param(a, id=a.__name__.replace("_", " ")) for a in ARRANGEMENTS])
def test_a_leader_ends_in_time_and_another_one_leads_at_once(
    operators: Deployment, finetunes: Finetunes, arrange: Arrange
) -> None:
    leader, standby = operators.start_leader(), operators.start()
    with arrange(leader, finetunes):
        code, seconds = leader.terminate()
    print(f"SIGTERM, {arrange.__name__}: {code} after {seconds:.1f} s")
    assert code == 0
    assert seconds < SECONDS
    if arrange not in {without_answers, without_api_server}:
        assert seconds_until(standby.leads, "the other one leads") < HANDOVER_SECONDS
        assert operators.service.endpoints().keys() == {standby.name}


@pytest.mark.parametrize("answers", [True, False])
def test_a_standby_ends_in_time(operators: Deployment, answers: bool) -> None:
    leader, standby = operators.start_leader(), operators.start()
    eventually(lambda: [c for c in standby.proxy.calls if c.kind == "leases"], "it looks at the Lease")
    if not answers:
        asked = len(standby.proxy.calls)
        standby.proxy.fault = Silence()
        eventually(lambda: len(standby.proxy.calls) > asked, "it waits for an answer")
    code, seconds = standby.terminate()
    print(f"SIGTERM, standby{'' if answers else ' without answers'}: {code} after {seconds:.1f} s")
    assert code == 0
    assert seconds < SECONDS
    assert operators.holder() == leader.name


def test_a_replica_that_waits_for_the_api_server_to_answer_ends_in_time(operators: Deployment) -> None:
    """It has just been started: nothing has been answered yet."""
    replica = operators.start(fault=Silence())
    eventually(lambda: replica.proxy.calls, "it has asked")
    code, seconds = replica.terminate()
    print(f"SIGTERM, at the start without answers: {code} after {seconds:.1f} s")
    assert code == 0
    assert seconds < SECONDS
