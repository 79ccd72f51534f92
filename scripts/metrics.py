"""docs/metrics.md from the code: what every metric says, and questions that a platform team asks."""

from collections.abc import Iterable

from finetune_operator.memory import Memory
from finetune_operator.metrics import OperatorMetrics
from finetune_operator.metrics.family import OF, Family
from finetune_operator.metrics.finetunes import FAMILIES, MAX_EVALUATION_SERIES, MAX_SERIES

INTRODUCTION = f"""\
# Metrics

Every replica of the operator serves `/metrics` on port 8080, and the Service `<release>-metrics` leads to it.
Scrape each pod by itself. Only the replica that leads has series of finetunes, so sums over replicas hold.

- A finetune has at most {MAX_SERIES} series, one in training about 25. Names of evaluators, metrics and
  groups come from specs; at most {MAX_EVALUATION_SERIES} series speak of them: the primary metric, gates
  (those that fail first), further metrics. No label holds the text of an error.
- Series of a deleted finetune vanish with the next scrape, so do those of a phase or condition that it is no
  longer in.
- What is counted of a run begins again at 0 with the next run. What is counted of a namespace outlives
  deleted finetunes and begins again at 0 with the operator. `increase` and `rate` know both.
- `metrics.perResource: false` in the chart leaves out the series of single finetunes.

## Questions
"""
QUESTIONS = """\
What share of the runs of a week failed?
sum(increase(embedding_finetune_runs_total{outcome="Failed"}[7d]))
  / sum(increase(embedding_finetune_runs_total[7d]))

Which finetunes wait, and for what? (An alert adds `for: 30m`.)
embedding_finetune_status_phase{phase="Pending"}

Which running finetunes have not reported for 15 minutes?
time() - embedding_finetune_last_progress_timestamp_seconds > 900

How many GPU hours did each namespace use in a week?
sum by (namespace) (increase(embedding_finetune_namespace_gpu_seconds_total[7d])) / 3600

What share of them was lost?
sum(increase(embedding_finetune_namespace_wasted_gpu_seconds_total[7d]))
  / sum(increase(embedding_finetune_namespace_gpu_seconds_total[7d]))

Within how many seconds are nine of ten published runs through?
histogram_quantile(0.9, sum by (le) (
  rate(embedding_finetune_run_duration_seconds_bucket{outcome="Published"}[7d])))

How long does half of the runs wait for a queue, a node or an image?
histogram_quantile(0.5, sum by (le) (rate(embedding_finetune_run_waiting_seconds_bucket[7d])))

Why are attempts made again?
topk(5, sum by (reason) (increase(embedding_finetune_run_retries_total[7d])))

Which finetunes failed for good, and why?
embedding_finetune_status_phase{phase=~"Failed|GateFailed"}

Which published models are older than 30 days?
time() - embedding_finetune_published_timestamp_seconds > 30 * 86400

Whose gain may be luck?
embedding_finetune_evaluation_gain_low <= 0

What did each base model gain?
embedding_finetune_evaluation_gain
  * on (namespace, embeddingfinetune) group_left (base_model) embedding_finetune_info

Which trainings have diverged? (A loss that is not a number differs from itself.)
embedding_finetune_training_loss != embedding_finetune_training_loss

How many finetunes are in which phase?
sum by (phase) (embedding_finetune_resources)

Does exactly one replica lead?
sum(embedding_finetune_operator_leader) == 1

How long do finetunes wait for a worker of the operator?
histogram_quantile(0.99, sum by (le) (rate(embedding_finetune_operator_queue_waiting_seconds_bucket[5m])))

Which requests does the API server refuse?
sum by (verb, kind, code) (
  rate(embedding_finetune_operator_api_requests_total{code=~"error|4..|5.."}[5m])) > 0
"""


def metrics_page() -> str:
    """The page, as Markdown."""
    own = OperatorMetrics(Memory(), lambda: 0).registry.families
    together = [family for family in own if "_operator_" not in family.name]
    return "\n".join([
        INTRODUCTION, *_questions(),
        "## Of each finetune", "", "Labels `namespace` and `embeddingfinetune`, and those named here.", "",
        *_table(FAMILIES, beyond=len(OF)),
        "## Of all together", "", *_table(together),
        "## Of the operator itself", "",
        "Beside these, `process_*` as every Prometheus client has them.", "",
        *_table([family for family in own if family not in together]),
    ])  # fmt: skip


def _questions() -> Iterable[str]:
    for entry in QUESTIONS.strip().split("\n\n"):
        question, query = entry.split("\n", 1)
        yield f"{question}\n\n```promql\n{query}\n```\n"


def _table(families: Iterable[Family], *, beyond: int = 0) -> Iterable[str]:
    yield from ("| Metric | Type | Labels | Meaning |", "|---|---|---|---|")
    for family in families:
        labels = ", ".join(f"`{name}`" for name in family.labels[beyond:])
        yield f"| `{family.name}` | {family.kind} | {labels} | {family.help} |"
    yield ""
