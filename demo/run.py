"""The demo from beginning to end: the only place that knows the order."""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.padding import Padding

from demo.cluster_setup import (
    apply,
    cluster_for,
    demo_cluster,
    demo_operator,
    hints,
    make_namespace,
    save_trainer_log,
)
from demo.examples import Searched, draw_examples, render_examples
from demo.live_table import show_until_settled
from demo.results import Result, headline, keep_model, render_result
from demo.stages import Stages
from demo.tasks import MODELS, NAMESPACE, Task
from demo.watching import Finetune, follow_finetunes
from tests.cluster import Cluster, ClusterError
from tests.cluster.binaries.build import cache_root
from tests.operator.process import install_chart

TRAINING_SECONDS = 45 * 60
"""Many times what two idle cores need: machines are shared."""


def run_demo(console: Console, tasks: Sequence[Task], results: Path, *, keep: bool) -> list[Result]:
    """Run the tasks and tell about them; what stays is written into the folder `results`.

    Raises DemoError or ClusterError when something other than a finetune goes wrong.
    """
    results.mkdir(exist_ok=True)
    stages = Stages(console)
    with contextlib.ExitStack() as stack:
        with stages.stage("start the local cluster"):
            settings = cluster_for(len(tasks), results / "bin")
            cluster = stack.enter_context(demo_cluster(settings, keep=keep, report=_teller(console)))
        with stages.stage("install the chart and start the operator"):
            install_chart(cluster)
            operator = stack.enter_context(demo_operator(cluster, results / "operator.log", keep=keep))
        with stages.stage("put models and data on the volumes"):
            claims = make_namespace(cluster)
            for task in tasks:
                task.fill(claims, cache_root())
        with stages.stage("fine-tune"):
            events = follow_finetunes(cluster.client, NAMESPACE)
            apply(cluster, tasks)
            names = [task.name for task in tasks]
            finetunes = show_until_settled(
                events, names, console=console, check=operator.check, seconds=TRAINING_SECONDS
            )
        with stages.stage("ask base and tuned models for examples"):
            done = [_collect(cluster, *each, claims, results) for each in zip(tasks, finetunes, strict=True)]
        for part in (*map(render_result, done), stages.table()):
            console.print(Padding(part, (1, 0, 0, 0)))
        if keep:
            console.print(hints(cluster), highlight=False, soft_wrap=True)
    return done


def _collect(cluster: Cluster, task: Task, finetune: Finetune, claims: Path, results: Path) -> Result:
    """Bring everything about a finetune out of the cluster: its log, its model, and what that finds."""
    _save_log(cluster, finetune, results / f"{task.name}.log")
    model = keep_model(finetune, claims, results / task.name)
    if model is None:
        return Result(task, finetune)
    searched = _search(task, claims, model)
    sheet = results / f"{task.name}.png" if searched.collection.pages else None
    if sheet is not None:
        draw_examples(f"{task.name}    {headline(finetune)}", searched).save(sheet)
    return Result(task, finetune, model, render_examples(searched), sheet)


def _save_log(cluster: Cluster, finetune: Finetune, target: Path) -> None:
    if (run := finetune.status.run) is None:
        return
    with contextlib.suppress(ClusterError):  # a pod that never started has no log; the condition says why
        save_trainer_log(cluster, run.job, target)


def _search(task: Task, claims: Path, tuned: Path) -> Searched:
    from demo.search import rank_documents  # noqa: PLC0415 - torch takes seconds

    collection = task.collection(claims)
    base, after = (
        rank_documents(folder, collection, task.max_seq_length)
        for folder in (claims / MODELS / task.base_model, tuned)
    )
    return Searched(collection, base, after)


def _teller(console: Console) -> Callable[[str], None]:
    return lambda text: console.print(f"   {text}", style="dim", highlight=False, soft_wrap=True)
