"""The demo from beginning to end: the only place that knows the order."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.padding import Padding

from demo.cluster_setup import (
    OperatorProcess,
    apply,
    demo_cluster,
    demo_operator,
    hints,
    make_namespace,
    save_trainer_log,
    shared_node,
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


@dataclass(frozen=True)
class _World:
    """What the finetunes live in. claims: has a folder for each claim."""

    cluster: Cluster
    operator: OperatorProcess
    claims: Path


def run_demo(console: Console, tasks: Sequence[Task], results: Path, *, keep: bool) -> list[Result]:
    """Run the tasks and tell about them; what stays is written into the folder `results`.

    Raises DemoError or ClusterError when something other than a finetune goes wrong.
    """
    results.mkdir(exist_ok=True)
    stages = Stages(console)
    with contextlib.ExitStack() as stack:
        world = _prepare(stack, stages, tasks, results, keep=keep)
        with stages.stage("fine-tune"):
            finetunes = _finetune(world, tasks, console)
        with stages.stage("ask base and tuned models for examples"):
            done = [_collect(world, *each, results) for each in zip(tasks, finetunes, strict=True)]
        for result in done:
            console.print(Padding(render_result(result), (1, 0, 0, 0)))
        with stages.stage("leave the cluster up" if keep else "remove the cluster"):
            stack.close()
    console.print(Padding(stages.table(), (1, 0)))
    if keep:
        console.print(hints(world.cluster, tasks[-1].name), highlight=False, soft_wrap=True)
    return done


def _prepare(
    stack: contextlib.ExitStack, stages: Stages, tasks: Sequence[Task], results: Path, *, keep: bool
) -> _World:
    """Everything up to the first finetune; what must end again is put on the stack."""
    with stages.stage("start the local cluster"):
        cluster = stack.enter_context(demo_cluster(shared_node(), keep=keep, report=stages.tell))
    with stages.stage("install the chart and start the operator"):
        install_chart(cluster)
        log = results / "operator.log"
        log.unlink(missing_ok=True)  # that of an earlier demo
        operator = stack.enter_context(demo_operator(cluster, log, keep=keep))
    with stages.stage("put models and data on the volumes"):
        claims = make_namespace(cluster)
        for task in tasks:
            stages.tell(f"{task.name}: {task.about}")
            task.fill(claims, cache_root())
    return _World(cluster, operator, claims)


def _finetune(world: _World, tasks: Sequence[Task], console: Console) -> list[Finetune]:
    events = follow_finetunes(world.cluster.client, NAMESPACE)
    apply(world.cluster, tasks)
    return show_until_settled(
        events,
        [task.name for task in tasks],
        console=console,
        check=world.operator.check,
        seconds=TRAINING_SECONDS,
    )


def _collect(world: _World, task: Task, finetune: Finetune, results: Path) -> Result:
    """Bring everything about a finetune out of the cluster: its log, its model, and what that finds."""
    _save_log(world.cluster, finetune, results / f"{task.name}.log")
    model = keep_model(finetune, world.claims, results / task.name)
    if model is None:
        return Result(task, finetune)
    searched = _search(task, world.claims, model)
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
    from demo.search import rank_documents  # torch takes seconds

    collection = task.collection(claims)
    base, after = (
        rank_documents(folder, collection, task.max_seq_length)
        for folder in (claims / MODELS / task.base_model, tuned)
    )
    return Searched(collection, base, after)
