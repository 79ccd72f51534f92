"""The picture beside a model: the training loss, and the metrics before and after."""

import io
from typing import TYPE_CHECKING

from finetune_trainer.reporting.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BASE, _TUNED = "#9aa5b1", "#1f6feb"


def draw_results(results: Results) -> bytes:
    """A PNG of two panels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    _draw_loss(left, results)
    _draw_metrics(right, results)
    figure.suptitle(f"{results.run.name}, run {results.run.run}")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    return picture.getvalue()


def _draw_loss(axes: "Axes", results: Results) -> None:
    steps = [step for step, _ in results.training.loss_curve]
    axes.plot(steps, [loss for _, loss in results.training.loss_curve], color=_TUNED)
    if (best := results.training.best_step) is not None:
        axes.axvline(best, color=_BASE, linestyle="--", label=f"best step {best}")
        axes.legend()
    axes.set(title="Training loss", xlabel="step", ylabel="loss")
    axes.set_ylim(bottom=0)


def _draw_metrics(axes: "Axes", results: Results) -> None:
    """The headline at every dimension; where there is one alone, every evaluator's own metric."""
    dimensions = sorted(n for n in results.primary.tuned.by_dimension if n is not None)
    if len(dimensions) > 1:
        _draw_dimensions(axes, results, dimensions)
    else:
        _draw_evaluators(axes, results)
    axes.legend()


def _draw_dimensions(axes: "Axes", results: Results, dimensions: list[int]) -> None:
    evaluation = results.run.spec.evaluation
    primary, metric = results.primary, evaluation.metric(evaluation.primary)
    labels = [str(n) for n in dimensions]
    tuned = [primary.value(primary.tuned, metric, n) for n in dimensions]
    found = [primary.baseline_value(metric, n) for n in dimensions]
    base = [b for b in found if b is not None]
    if len(base) == len(dimensions):
        axes.plot(labels, base, marker="o", color=_BASE, label="base")
        intervals = [primary.interval(metric, n) for n in dimensions]
        # The interval is of the gain, so it is drawn around the tuned value as base plus its ends.
        below = [t - (b + i.low) if i else 0 for t, b, i in zip(tuned, base, intervals, strict=True)]
        above = [b + i.high - t if i else 0 for t, b, i in zip(tuned, base, intervals, strict=True)]
        errors = [[max(0.0, e) for e in below], [max(0.0, e) for e in above]]
        axes.errorbar(labels, tuned, yerr=errors, marker="o", color=_TUNED, label="tuned", capsize=3)
    else:
        axes.plot(labels, tuned, marker="o", color=_TUNED, label="tuned")
    axes.set(title=f"{primary.evaluator.name}: {metric}", xlabel="embedding dimensions", ylabel=metric)
    if all(0 <= value <= 1 for value in (*base, *tuned)):
        axes.set_ylim(0, 1.02)


def _draw_evaluators(axes: "Axes", results: Results) -> None:
    evaluation = results.run.spec.evaluation
    labels, base, tuned = [], [], []
    for one in results.measured:
        is_primary = one.evaluator.name == evaluation.primary.evaluator
        name = one.evaluator.name
        metric = evaluation.metric(evaluation.primary) if is_primary else evaluation.headline(name)
        labels.append(f"{name}\n{metric}")
        base.append(one.baseline_value(metric, one.tuned.headline))
        tuned.append(one.value(one.tuned, metric, one.tuned.headline))
    places = range(len(labels))
    known = [(n, b) for n, b in enumerate(base) if b is not None]
    if known:
        axes.bar([n - 0.2 for n, _ in known], [b for _, b in known], 0.4, color=_BASE, label="base")
    axes.bar([n + 0.2 for n in places], tuned, 0.4, color=_TUNED, label="tuned")
    axes.set_xticks(list(places), labels)
    axes.set(title="Every evaluator")
