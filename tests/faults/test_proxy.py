"""The faults themselves, tried against a server that only counts."""

import http.client
import json
import time
from collections.abc import Iterator

import pytest
from aiohttp import web

from tests.cluster.waiting import eventually
from tests.faults.calls import call_of, count
from tests.faults.faults import (
    EXPIRED,
    CutWatches,
    DisturbEvents,
    Errors,
    ExpireWatches,
    Fault,
    KillAfterWrites,
    LoseAnswers,
    StaleLists,
    StallWatches,
)
from tests.faults.proxy import Proxy, ProxyHost

JOBS = "/apis/batch/v1/namespaces/one/jobs"
LINES = [json.dumps({"type": "ADDED", "object": {"number": n}}).encode() + b"\n" for n in range(6)]


@pytest.fixture
def host() -> Iterator[ProxyHost]:
    host = ProxyHost()
    yield host
    host.close()


@pytest.fixture
def written() -> list[bytes]:
    """What the server behind the proxy was sent."""
    return []


@pytest.fixture
def proxy(host: ProxyHost, written: list[bytes]) -> Iterator[Proxy]:
    async def answer(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            written.append(await request.read())
            return web.json_response({"items": len(written)})
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"".join(LINES))
        return response

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    with host.serving(app) as url, host.proxy(url, None) as proxy:
        yield proxy


def ask(proxy: Proxy, method: str, path: str, body: str = "", *, seconds: float = 5) -> tuple[int, bytes]:
    """Status and body; what came of it, when the connection breaks."""
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=seconds)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        try:
            return answer.status, answer.read()
        except http.client.IncompleteRead as error:
            return answer.status, error.partial
    except ConnectionError:
        return 0, b""
    finally:
        connection.close()


def watched(proxy: Proxy, fault: Fault, *, seconds: float = 5) -> bytes:
    proxy.fault = fault
    return ask(proxy, "GET", f"{JOBS}?watch=true", seconds=seconds)[1]


def test_requests_pass_and_are_counted_by_what_they_ask(proxy: Proxy, written: list[bytes]) -> None:
    assert ask(proxy, "POST", JOBS, "{}") == (200, b'{"items": 1}')
    assert ask(proxy, "PUT", f"{JOBS}/a/status", "{}") == (200, b'{"items": 2}')
    assert watched(proxy, Fault()) == b"".join(LINES)
    expected = {("create", "jobs"): 1, ("update", "jobs/status"): 1, ("watch", "jobs"): 1}
    assert count(proxy.calls) == expected
    assert written == [b"{}", b"{}"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v1/namespaces/a/pods/b", ("get", "pods", "a", "b")),
        ("/api/v1/pods", ("list", "pods", "", "")),
        ("/apis/embeddings.dev/v1alpha1", ("get", "", "", "")),
        ("/api/v1/namespaces/a", ("get", "namespaces", "", "a")),
    ],
)
def test_a_path_names_its_call(path: str, expected: tuple[str, ...]) -> None:
    call = call_of("GET", path, {})
    assert (call.verb, call.kind, call.namespace, call.name) == expected


def test_the_operator_is_killed_once_its_write_is_done(proxy: Proxy, written: list[bytes]) -> None:
    killed_after: list[int] = []
    proxy.fault = KillAfterWrites(lambda: killed_after.append(len(written)), range(2, 3))
    codes = [ask(proxy, "POST", JOBS, "{}")[0] for _ in range(3)]
    assert (codes, killed_after, len(written)) == ([200, 0, 200], [2], 3)


def test_a_lost_answer_is_of_a_write_that_was_done(proxy: Proxy, written: list[bytes]) -> None:
    proxy.fault = LoseAnswers(range(1, 2))
    assert [ask(proxy, "PUT", f"{JOBS}/a", "{}")[0] for _ in range(2)] == [0, 200]
    assert len(written) == 2


def test_a_seed_says_which_calls_fail_and_how(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.faults.faults.SLOW_SECONDS", 0)

    def codes(seed: int) -> list[int]:
        proxy.fault = Errors(0.5, seed)
        return [ask(proxy, "POST", JOBS, "{}")[0] for _ in range(40)]

    assert codes(1) == codes(1) != codes(2)
    assert set(codes(1)) == {0, 200, 409, 429, 500, 503, 504}


def test_watches_break_in_the_middle_of_a_line_or_expire(proxy: Proxy) -> None:
    assert watched(proxy, CutWatches(2)) == LINES[0] + LINES[1][: len(LINES[1]) // 2]
    assert watched(proxy, ExpireWatches(2)) == LINES[0] + EXPIRED


def test_events_are_dropped_repeated_and_swapped(proxy: Proxy) -> None:
    seen = [
        watched(proxy, DisturbEvents(seed, rate=0.7, watch_seconds=5)).splitlines(True) for seed in range(9)
    ]
    assert any(lines.count(LINES[0]) == 2 for lines in seen)
    assert any(LINES[1] not in lines for lines in seen)
    assert any(
        lines.index(LINES[a]) > lines.index(LINES[a + 1])
        for lines in seen
        for a in range(5)
        if LINES[a] in lines and LINES[a + 1] in lines
    )


def test_a_stalled_watch_says_nothing_until_it_is_over(proxy: Proxy) -> None:
    stall = StallWatches()
    with pytest.raises(TimeoutError):
        watched(proxy, stall, seconds=0.3)
    stall.is_over = True
    assert watched(proxy, stall) == b"".join(LINES)


def test_a_stale_server_lists_what_it_has_seen_first(proxy: Proxy) -> None:
    proxy.fault = stale = StaleLists()
    first = ask(proxy, "GET", JOBS)
    ask(proxy, "POST", JOBS, "{}")
    stale.is_frozen = True
    assert ask(proxy, "GET", JOBS) == first
    stale.is_frozen = False
    assert ask(proxy, "GET", JOBS) != first


def test_a_server_that_is_gone_refuses_and_breaks_what_is_open(proxy: Proxy) -> None:
    proxy.fault = StallWatches()
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=5)
    connection.request("GET", f"{JOBS}?watch=true")
    answer = connection.getresponse()
    began = time.monotonic()
    proxy.go_away()
    with pytest.raises((ConnectionError, http.client.IncompleteRead)):
        answer.read()
    answer.close()
    connection.close()
    assert time.monotonic() - began < 4, "the open watch was left to its time-out"
    assert ask(proxy, "GET", JOBS)[0] == 0
    proxy.come_back()
    proxy.fault = Fault()
    assert eventually(lambda: ask(proxy, "GET", JOBS)[0], "an answer") == 200
