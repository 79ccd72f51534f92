"""The picture beside a model: the training loss, and the headline metric by dimension, before and after."""

import io
from typing import TYPE_CHECKING

from finetune_trainer.results import Results

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
    _draw_dimensions(right, results)
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


def _draw_dimensions(axes: "Axes", results: Results) -> None:
    evaluation = results.run.spec.evaluation
    primary, metric = results.primary, evaluation.metric(evaluation.primary)
    dimensions = sorted(n for n in primary.tuned.by_dimension if n is not None)
    labels = [str(n) for n in dimensions]
    tuned = [primary.value(primary.tuned, metric, n) for n in dimensions]
    found = [primary.baseline_value(metric, n) for n in dimensions]
    base = [b for b in found if b is not None]
    if len(base) == len(dimensions) > 0:
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
    axes.set_ylim(0, 1.02)
    axes.legend()
