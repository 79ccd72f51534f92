"""docs/reasons.md from the operator's tables: every reason of a condition, what it means, who can help."""

from collections.abc import Iterable, Iterator
from string import Formatter
from typing import TypeVar

from finetune_api.exit_codes import USER_ERRORS
from finetune_operator.decisions import disruptions, exits, explanations, failures, images
from finetune_operator.decisions.texts import next_step, sentence

INTRODUCTION = """\
# Reasons

What the conditions `Reconciling`, `Stalled` and `Ready` give as their reason, generated from the operator's
own tables. The condition's message says it with names and numbers. **You** has the finetune and its
namespace, the **Platform team** the cluster and the operator. [runs.md](runs.md) tells what is waited for,
tried again and given up.
"""
ON_THE_WAY = (
    ("Starting", "Its Job was made; the pod comes up", ""),
    ("Running", "The trainer is at work; `status.phase` says in which stage", ""),
    ("Queued", "A queue holds the Job back", "You: ask whoever runs the queue."),
    ("Suspending", "`spec.suspend` is true; the pod saves a checkpoint and ends", ""),
    ("Suspended", "`spec.suspend` is true; nothing runs", "You: set it to false to go on."),
    ("Resuming", "`spec.suspend` is false again; the former Job goes", ""),
    ("Resumed", "A new Job goes on with the run", ""),
    ("SpecChanged", "The spec, or `spec.rerun`, asks for another run; the present one gives way", ""),
    ("SettingsChanged", "The pod could not start, and the spec has changed; its Job is made again", ""),
    ("GatesChanged", "Changed gates need numbers or a model that the run did not keep; it runs again", ""),
    ("JobRecreated", "The Job was gone in the middle of the run, and was made again", ""),
    ("ReportLost", "The Job is complete, but its Report is gone with its pod; one more attempt is made", ""),
    ("JobTerminating, ConfigMapTerminating, PodTerminating",
     "What was there before must be gone first, so that two pods never work for one finetune", ""),
    ("Stuck", "A running pod has reported nothing new for `limits.stuckSeconds`; it is not stopped",
     "You: see its log; delete the pod, and another one goes on."),
    ("NodeNotReady", "The pod's node does not answer", "Platform team: see what became of the node."),
)  # fmt: skip
ENDS = (
    ("Published, Measured", "Done; without `spec.output` nothing is published", ""),
    ("GateNotPassed", "The model is not good enough by the gates; nothing was published",
     "You: change the spec, the data or the gates."),
    ("DeadlineExceeded", "The run's pods have run longer than `limits.activeSeconds`",
     "You: raise it, or ask for less training."),
    ("NoProgress", "Five interruptions in a row left no newer checkpoint",
     "You: set `runtime.checkpoints`, or lower `everySeconds`."),
    ("NameTaken", "An object of somebody else has the name that the run's Job or ConfigMap needs",
     "You: remove it, or rename the finetune."),
    ("InvalidSpec, InvalidManifest", "The spec cannot work, for a reason that the message names",
     "You: correct it and apply it again."),
    ("RemoteCodeNotAllowed", "`model.trustRemoteCode` is not allowed here",
     "You: take another model. Platform team: or set the chart's `allowRemoteCode`."),
)  # fmt: skip
OF_THE_TRAINER = """\
The trainer gives reasons of its own for what it finds in spec, data and model (`MissingColumn`, `Overlap`,
`WrongType`, `SecretKeyMissing` and others), with the value found, the value wanted and the next step in
`status.failure`. Where it could not say anything any more, its exit code speaks:
"""
Row = tuple[str, str, str]
Known = TypeVar("Known", explanations.Known, disruptions.Known)


def reasons_page() -> str:
    """The page, as Markdown."""
    sections = (
        ("On the way", "", ON_THE_WAY),
        ("Waiting for something: up to `limits.pendingSeconds`", "", _waiting()),
        ("Interrupted: another pod goes on, no retry is used up", "", _disruptions()),
        ("Failed", OF_THE_TRAINER, _exits()),
        ("At the end", "", ENDS),
    )
    return "\n".join([INTRODUCTION, *(_section(*section) for section in sections)])


def _section(title: str, text: str, rows: Iterable[Row]) -> str:
    lines = (f"| {_code(reason)} | {_cell(what)} | {_cell(step)} |" for reason, what, step in rows)
    return "\n".join([f"## {title}", "", *([text] if text else []),
                      "| reason | what it means | next step |", "|---|---|---|", *lines, ""])  # fmt: skip


def _waiting() -> Iterator[Row]:
    yield (
        "Unschedulable", "No node can take the pod; the message says which resource or rule is against it",
        next_step(you="ask for less or correct `runtime.pod`", platform="add a node that fits"),
    )  # fmt: skip
    yield (
        "AdmissionDenied",
        "The API server refuses Job or pod in words that are not known here",
        next_step(you="change in the spec what it objects to", platform="or let the cluster allow it"),
    )  # fmt: skip
    yield (
        "ServiceAccountNotAllowed",
        "The service account does not carry the label `embeddings.dev/allow-finetunes`",
        next_step(platform="label it", you="or name another one"),
    )  # fmt: skip
    yield (
        "SchedulingGated", "Another controller asked the scheduler to hold the pod back",
        next_step(platform="see that controller"),
    )  # fmt: skip
    for known in _first(known for _, known in explanations.KNOWN):
        step = next_step(you=_plain(known.you), platform=_plain(known.platform))
        yield known.reason, _plain(known.message), step
    for _, reason, message, hint in images.ANSWERS:
        yield reason, _plain(message), hint


def _disruptions() -> Iterator[Row]:
    for known in _first(disruptions.KNOWN.values()):
        yield known.reason, f"The pod {known.what}", next_step(you=known.you, platform=known.platform)
    yield (
        failures.INTERRUPTED,
        "The pod was deleted or stopped by a signal, or was gone before anybody saw how it ended",
        "",
    )


def _exits() -> Iterator[Row]:
    for code, end in exits.BY_CODE.items():
        retried = "; not tried again" if code in USER_ERRORS else ""
        yield end.reason, f"Exit code {int(code)}: {end.meaning}{retried}", end.hint


def _first(knowns: Iterable[Known]) -> Iterable[Known]:
    """One of each reason."""
    found: dict[str, Known] = {}
    for known in knowns:
        found.setdefault(known.reason, known)
    return found.values()


def _plain(text: str) -> str:
    """A message with its gaps marked."""
    return "".join(words + ("..." if gap is not None else "") for words, gap, _, _ in Formatter().parse(text))


def _code(reasons: str) -> str:
    return ", ".join(f"`{reason}`" for reason in reasons.split(", "))


def _cell(text: str) -> str:
    return sentence(text).replace("|", "\\|").replace("<", "&lt;")
