import numpy as np
import pytest
import scipy.stats

from finetune_trainer.evaluation.measures import Floats, Labels, Mean
from finetune_trainer.statistics import Comparison, Interval, clusters, compare, gain_interval

RNG = np.random.default_rng(7)


def paired(base: Floats, tuned: Floats, labels: Labels, *, draws: int | None = None) -> Interval | None:
    return gain_interval(Mean(base), Mean(tuned), labels, draws=draws)


def test_queries_that_share_a_document_are_one_cluster() -> None:
    relevant = [frozenset("ab"), frozenset("c"), frozenset("bd"), frozenset("e"), frozenset("dc")]
    assert clusters(relevant).tolist() == [0, 0, 0, 1, 0]


def test_queries_that_share_nothing_are_clusters_of_their_own() -> None:
    assert clusters([frozenset("a"), frozenset("b"), frozenset("c")]).tolist() == [0, 1, 2]


@pytest.mark.parametrize("shape", ["symmetric", "skewed", "sparse"])
def test_single_queries_get_the_bca_interval_of_scipy(shape: str) -> None:
    gains = {
        "symmetric": RNG.normal(0.05, 0.3, 300),
        "skewed": RNG.exponential(0.1, 120) ** 2,
        "sparse": RNG.choice([-0.5, 0.0, 0.6307], 200, p=[0.05, 0.75, 0.2]),
    }[shape]
    ours = paired(np.zeros_like(gains), gains, np.arange(len(gains)))
    theirs = scipy.stats.bootstrap(
        (gains,), np.mean, n_resamples=10_000, method="BCa", rng=np.random.default_rng(1)
    ).confidence_interval
    assert ours is not None
    assert ours.method == "BCa"
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=width * 0.03)
    assert ours.high == pytest.approx(theirs.high, abs=width * 0.03)


def test_the_statistic_is_the_mean_over_queries_of_unequal_clusters() -> None:
    gains, labels = np.array([0.0, 0.0, 0.0, 1.0]), np.array([0, 0, 0, 1])
    interval = paired(np.zeros(4), gains, labels)
    assert interval is not None
    assert interval.gain == 0.25  # not the 0.5 of a mean over clusters
    assert interval.clusters == 2


def test_the_interval_is_the_same_each_time() -> None:
    gains = RNG.normal(size=50)
    assert paired(gains * 0, gains, np.arange(50)) == paired(gains * 0, gains, np.arange(50))


def test_copies_of_every_query_do_not_narrow_the_interval() -> None:
    gains = RNG.normal(0.1, 0.3, 60)
    alone = paired(gains * 0, gains, np.arange(60))
    four = paired(np.zeros(240), np.repeat(gains, 4), np.repeat(np.arange(60), 4))
    assert alone is not None
    assert four is not None
    assert (four.low, four.high) == pytest.approx((alone.low, alone.high), abs=1e-9)


@pytest.mark.parametrize("gain", [0.0, 0.25])
def test_equal_gains_make_an_interval_that_says_it_is_degenerate(gain: float) -> None:
    base = RNG.uniform(size=30)
    interval = paired(base, base + gain, np.arange(30))
    assert interval is not None
    assert interval.method == "Degenerate"
    assert interval.low == interval.high == pytest.approx(gain)


def test_one_cluster_has_no_interval() -> None:
    assert paired(np.zeros(5), np.ones(5), np.zeros(5, dtype=np.int64)) is None


def test_wins_ties_and_losses_ignore_rounding() -> None:
    base = np.array([0.1, 0.5, 0.3, 0.3])
    tuned = np.array([0.2, 0.4, 0.1 + 0.2, 0.3])
    assert compare(base, tuned) == Comparison(wins=1, ties=2, losses=1)


def test_the_interval_covers_the_truth() -> None:
    """75 clusters of 4 queries, gains skewed and correlated by 0.7 inside a cluster."""
    random = np.random.default_rng(11)

    def drawn_gains(pages: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
        shared, own = random.normal(size=(pages, 1)), random.normal(size=(pages, 4))
        latent = shared * 0.7**0.5 + own * 0.3**0.5
        return np.where(latent > 1, latent - 1, np.where(latent < -1.6, latent + 1.6, 0)).ravel() / 2

    truth = drawn_gains(500_000).mean()
    by_page, alone = np.repeat(np.arange(75), 4), np.arange(300)
    covered = {"clusters": 0, "queries": 0}
    for _ in range(300):
        gains = drawn_gains(75)
        for name, labels in (("clusters", by_page), ("queries", alone)):
            interval = paired(gains * 0, gains, labels, draws=1000)
            assert interval is not None
            covered[name] += interval.low <= truth <= interval.high
    assert covered["clusters"] / 300 > 0.88
    assert covered["queries"] / 300 < 0.85
