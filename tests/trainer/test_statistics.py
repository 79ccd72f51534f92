import numpy as np
import pytest
import scipy.stats

from finetune_trainer.comparison import statistics
from finetune_trainer.comparison.clusters import clusters
from finetune_trainer.comparison.statistics import Comparison, Interval, compare, gain_interval
from finetune_trainer.evaluation.measures import Correlation, Decisions, Floats, Labels, Mean, value_of

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


def some_pairs(random: np.random.Generator, clusters: int) -> tuple[Floats, Floats, Floats, Labels]:
    """Skewed labels and two models' scores, four rows a cluster; cluster and models share some noise."""
    shared, own = random.normal(size=(clusters, 1)), random.normal(size=(clusters, 4))
    label = np.exp(shared * 0.7**0.5 + own * 0.3**0.5)
    common = random.normal(size=(clusters, 1)) * 0.7**0.5 + random.normal(size=(clusters, 4)) * 0.3**0.5
    base = np.log(label) + 0.6 * common + random.normal(size=label.shape)
    tuned = np.log(label) + 0.6 * common + 0.6 * random.normal(size=label.shape)
    return label.ravel(), base.ravel(), tuned.ravel(), np.repeat(np.arange(clusters), 4)


def test_a_correlation_gets_the_bca_interval_of_scipy() -> None:
    label, base, tuned, _ = some_pairs(np.random.default_rng(5), 15)

    def gain(label: Floats, base: Floats, tuned: Floats) -> float:
        by_rank = (scipy.stats.spearmanr(label, scores)[0] for scores in (base, tuned))
        return float(-next(by_rank) + next(by_rank))

    theirs = scipy.stats.bootstrap(
        (label, base, tuned), gain, paired=True, vectorized=False, n_resamples=2000, method="BCa",
        rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    ours = gain_interval(
        Correlation(base, label, of_ranks=True), Correlation(tuned, label, of_ranks=True), np.arange(60)
    )
    assert ours is not None
    assert (ours.method, ours.draws) == ("BCa", 10_000)
    assert ours.gain == pytest.approx(gain(label, base, tuned))
    width = theirs.high - theirs.low
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=width * 0.06)


def test_every_data_set_is_drawn_with_as_many_clusters_as_it_has() -> None:
    """All that varies is inside the sets: with one value each, nothing does."""
    strata, gains = np.array([0] * 20 + [1] * 5), np.array([0.0] * 20 + [1.0] * 5)
    measures = Mean(gains * 0), Mean(gains)
    interval = gain_interval(*measures, np.arange(25), strata=strata)
    assert interval is not None
    assert (interval.method, interval.gain) == ("Degenerate", 0.2)
    mixed = gain_interval(*measures, np.arange(25))
    assert mixed is not None
    assert mixed.method != "Degenerate"


def test_a_set_of_a_single_cluster_leaves_the_others_to_vary() -> None:
    strata, gains = np.array([0, 0, 1]), np.array([0.0, 1.0, 0.5])
    interval = gain_interval(Mean(gains * 0, strata), Mean(gains, strata), np.arange(3), strata=strata)
    assert interval is not None
    assert interval.low < interval.gain < interval.high
    fixed = gain_interval(Mean(gains * 0), Mean(gains), np.array([0, 0, 1]), strata=strata)
    assert fixed is None


def test_a_metric_that_most_draws_leave_undefined_has_no_interval() -> None:
    """One positive among 30 pairs: a third of all draws have none."""
    labels = np.array([1.0] + [0.0] * 29)
    scores = RNG.normal(size=(2, 30))
    base, tuned = (Decisions(s, labels, "ap") for s in scores)
    assert gain_interval(base, tuned, np.arange(30)) is None


def test_draws_are_bounded_by_the_work_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "_MOST_WORK", 2**19)
    gains = RNG.normal(0.1, 0.3, 60)
    interval = paired(gains * 0, gains, np.arange(60))
    assert interval is not None
    assert interval.draws == 2**19 // 240


def test_many_clusters_are_left_out_in_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    gains = RNG.exponential(0.1, 900) ** 2
    exact = paired(gains * 0, gains, np.arange(900))
    monkeypatch.setattr(statistics, "_MOST_WORK", 2**23)
    folded = paired(gains * 0, gains, np.arange(900), draws=10_000)
    assert exact is not None
    assert folded is not None
    width = exact.high - exact.low
    assert (folded.low, folded.high) == pytest.approx((exact.low, exact.high), abs=width * 0.05)


def test_the_interval_of_a_correlation_covers_the_truth() -> None:
    random = np.random.default_rng(11)
    label, base, tuned, rows = some_pairs(random, 50_000)
    truth = value_of(Correlation(tuned, label, of_ranks=True), len(rows))
    truth -= value_of(Correlation(base, label, of_ranks=True), len(rows))
    covered = 0
    for _ in range(100):
        label, base, tuned, rows = some_pairs(random, 75)
        interval = gain_interval(
            Correlation(base, label, of_ranks=True),
            Correlation(tuned, label, of_ranks=True),
            rows,
            draws=500,
        )
        assert interval is not None
        covered += interval.low <= truth <= interval.high
    assert covered > 86
