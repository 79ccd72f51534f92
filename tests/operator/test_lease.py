"""Leader election on a clock that is moved by hand."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from finetune_operator.kube import ApiFailure
from finetune_operator.lease import Lease, acquire, renew, watch
from finetune_operator.settings import Settings
from tests.operator.fake_kube import FakeKube

WALL = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """Monotonic time, moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def kube() -> FakeKube:
    return FakeKube()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    return Settings(namespace="ops", trainer_image="trainer")


class Replicas:
    """Two replicas that share a Lease and, being on one machine, a clock."""

    def __init__(self, kube: FakeKube, settings: Settings, clock: Clock) -> None:
        self.kube = kube
        self.a = Lease(kube, settings, "a", monotonic=clock, now=lambda: WALL)  # type: ignore[arg-type]
        self.b = Lease(kube, settings, "b", monotonic=clock, now=lambda: WALL)  # type: ignore[arg-type]

    @property
    def holder(self) -> str:
        lease = self.kube.get("Lease", "ops", "embedding-finetune-operator")
        assert lease is not None
        return str(lease["spec"]["holderIdentity"])


@pytest.fixture
def replicas(kube: FakeKube, settings: Settings, clock: Clock) -> Replicas:
    return Replicas(kube, settings, clock)


def test_the_first_replica_makes_the_lease_and_the_second_stands_by(replicas: Replicas) -> None:
    assert replicas.a.attempt()
    assert not replicas.b.attempt()
    assert replicas.a.is_held()
    assert not replicas.b.is_held()


def test_a_renewed_lease_is_never_taken_however_long_it_lasts(replicas: Replicas, clock: Clock) -> None:
    replicas.a.attempt()
    for _ in range(50):
        clock.now += 2
        # The wall clock stands still in these tests: only the resourceVersion tells that it was renewed.
        replicas.a._now = lambda: datetime.fromtimestamp(clock.now, UTC)
        assert replicas.a.attempt()
        assert not replicas.b.attempt()


def test_a_lease_that_nobody_renews_is_taken_after_its_duration(replicas: Replicas, clock: Clock) -> None:
    replicas.a.attempt()
    assert not replicas.b.attempt()
    clock.now += 14.9
    assert not replicas.b.attempt()
    clock.now += 0.2
    assert replicas.b.attempt()
    assert replicas.holder == "b"
    assert not replicas.a.attempt()


def test_a_lease_from_a_wall_clock_far_off_is_not_taken_early(
    kube: FakeKube, replicas: Replicas, clock: Clock
) -> None:
    replicas.a._now = lambda: datetime(1999, 1, 1, tzinfo=UTC)
    replicas.a.attempt()
    clock.now += 5
    assert not replicas.b.attempt()


def test_a_leader_loses_the_lease_at_its_deadline_before_another_may_take_it(
    replicas: Replicas, clock: Clock
) -> None:
    replicas.a.attempt()
    replicas.b.attempt()
    clock.now += 9.9
    assert replicas.a.is_held()
    clock.now += 0.2
    assert not replicas.a.is_held()
    assert not replicas.b.attempt()


def test_the_deadline_counts_from_before_the_request(
    replicas: Replicas, kube: FakeKube, clock: Clock
) -> None:
    def slow(verb: str, _kind: str) -> None:
        clock.now += 4 if verb == "create" else 0

    kube.before = slow
    replicas.a.attempt()
    clock.now += 6
    assert not replicas.a.is_held()


def test_a_failed_renewal_leaves_the_time_that_is_left(
    replicas: Replicas, kube: FakeKube, clock: Clock
) -> None:
    def fail(_verb: str, _kind: str) -> None:
        raise ApiFailure("planted")

    replicas.a.attempt()
    kube.before = fail
    clock.now += 5
    with pytest.raises(ApiFailure):
        replicas.a.attempt()
    assert replicas.a.is_held()
    kube.before = lambda _verb, _kind: None
    assert replicas.a.attempt()
    clock.now += 9
    assert replicas.a.is_held()


def test_a_renewal_needs_no_read(replicas: Replicas, kube: FakeKube) -> None:
    replicas.a.attempt()
    kube.requests.clear()
    replicas.a.attempt()
    assert kube.requests == [("update", "Lease")]


def test_a_stranger_that_edits_the_lease_does_not_end_the_leader(replicas: Replicas, kube: FakeKube) -> None:
    replicas.a.attempt()
    lease = kube.get("Lease", "ops", "embedding-finetune-operator")
    assert lease is not None
    kube.replace({**lease, "metadata": {**lease["metadata"], "annotations": {"seen": "yes"}}})
    assert replicas.a.attempt()
    assert replicas.a.attempt()
    assert replicas.a.is_held()


def test_a_released_lease_is_taken_at_once(replicas: Replicas) -> None:
    replicas.a.attempt()
    replicas.b.attempt()
    replicas.a.release()
    assert not replicas.a.is_held()
    assert replicas.b.attempt()


def test_a_standby_tries_again_just_when_the_lease_may_be_taken(replicas: Replicas, clock: Clock) -> None:
    replicas.a.attempt()
    replicas.b.attempt()
    assert replicas.b.pause(2) == 2
    clock.now += 14
    assert replicas.b.pause(2) == 1
    clock.now += replicas.b.pause(2)
    assert replicas.b.attempt()


def test_a_standby_that_cannot_ask_does_not_ask_all_the_time(replicas: Replicas, clock: Clock) -> None:
    replicas.a.attempt()
    replicas.b.attempt()
    clock.now += 60
    assert replicas.b.pause(2) == 2


def test_who_takes_over_knows_from_whom(replicas: Replicas, clock: Clock) -> None:
    replicas.a.attempt()
    replicas.a.attempt()
    replicas.b.attempt()
    clock.now += 16
    replicas.b.attempt()
    replicas.b.attempt()
    assert (replicas.a.former_holder, replicas.b.former_holder) == ("", "a")


@pytest.mark.parametrize("wall", [datetime(1999, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)])
def test_a_wall_clock_that_steps_neither_loses_nor_frees_the_lease(
    replicas: Replicas, clock: Clock, wall: datetime
) -> None:
    replicas.a.attempt()
    replicas.b.attempt()
    replicas.a._now = replicas.b._now = lambda: wall
    for _ in range(10):
        clock.now += 2
        wall += timedelta(seconds=2)
        assert replicas.a.attempt()
        assert not replicas.b.attempt()


def test_taking_over_counts_as_a_transition_and_renewing_does_not(replicas: Replicas, kube: FakeKube) -> None:
    replicas.a.attempt()
    replicas.a.attempt()
    replicas.a.release()
    replicas.b.attempt()
    lease = kube.get("Lease", "ops", "embedding-finetune-operator")
    assert lease is not None
    assert lease["spec"]["leaseTransitions"] == 1


def test_a_standby_goes_on_trying_through_errors(replicas: Replicas, kube: FakeKube) -> None:
    errors = iter([ApiFailure("one"), OSError("two"), ValueError("three")])

    def fail(_verb: str, _kind: str) -> None:
        if error := next(errors, None):
            raise error

    kube.before = fail
    assert acquire(replicas.a, threading.Event(), every_seconds=0)


def test_a_standby_that_is_to_stop_has_nothing(replicas: Replicas) -> None:
    stop = threading.Event()
    stop.set()
    assert not acquire(replicas.a, stop, every_seconds=60)
    assert not replicas.a.is_held()


def test_losing_the_lease_is_told_also_while_a_renewal_hangs(replicas: Replicas, clock: Clock) -> None:
    replicas.a.attempt()
    lost = threading.Event()
    clock.now += 60  # the process was stopped for a minute; no renewal has run
    watch(replicas.a, threading.Event(), lost.set, monotonic=clock)
    assert lost.is_set()


def test_a_leader_that_is_to_stop_has_not_lost_it(replicas: Replicas, clock: Clock) -> None:
    replicas.a.attempt()
    stop, lost = threading.Event(), threading.Event()
    stop.set()
    watch(replicas.a, stop, lost.set, monotonic=clock)
    assert not lost.is_set()


def test_renewing_goes_on_through_errors_until_it_is_to_stop(replicas: Replicas, kube: FakeKube) -> None:
    stop = threading.Event()
    calls = 0

    def fail_thrice(_verb: str, _kind: str) -> None:
        nonlocal calls
        calls += 1
        if calls > 3:
            stop.set()
        raise OSError("planted")

    kube.before = fail_thrice
    renew(replicas.a, stop, every_seconds=0)
    assert calls == 4
