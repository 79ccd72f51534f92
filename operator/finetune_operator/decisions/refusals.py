"""What follows from a refusal of the API server: who must act, and whether time may mend it."""

from finetune_operator.decisions.explanations import Problem, explain
from finetune_operator.decisions.observed import Object
from finetune_operator.decisions.texts import next_step, sentence
from finetune_operator.errors import Stalled, Waiting

REFUSAL_RETRY_SECONDS = 30.0
"""Between tries: nothing tells us when a quota or a policy changes."""

# How admission speaks, under whatever status code a webhook chose.
_ADMISSION = ("admission webhook", "failed calling webhook", "ValidatingAdmissionPolicy")
_PATIENCE = next_step(
    you="change in the spec what it objects to",
    platform="or let the cluster allow it; the run goes on by itself",
)
_CORRECT = next_step(you="correct the field of the spec that this comes from and apply it again")


def is_refusal(answer: Object) -> bool:
    """Whether this Status is a decision about the object rather than trouble of the server's."""
    message = str(answer.get("message", ""))
    return answer.get("code") in {403, 422} or any(words in message for words in _ADMISSION)


def refusal(manifest: Object, answer: Object) -> Stalled | Waiting:
    """The error to raise. Quota, policies and what is missing can change without the finetune; validity
    cannot.
    """
    metadata, message = manifest["metadata"], str(answer.get("message", ""))
    problem = _of_going_namespace(answer) or explain(message, metadata["namespace"])
    told = f"The cluster refused {manifest['kind']} {metadata.get('name', '')}"
    if problem is not None:
        return Waiting(problem.reason, f"{told}. {problem.text}", REFUSAL_RETRY_SECONDS)
    if answer.get("code") == 422:
        return Stalled("InvalidManifest", f"{told}: {sentence(message)} {_CORRECT}")
    return Waiting("AdmissionDenied", f"{told}: {sentence(message)} {_PATIENCE}", REFUSAL_RETRY_SECONDS)


def _of_going_namespace(answer: Object) -> Problem | None:
    causes = (answer.get("details") or {}).get("causes") or []
    if not any(cause.get("reason") == "NamespaceTerminating" for cause in causes):
        return None
    message = str(answer.get("message", "its namespace is being deleted"))
    return Problem("NamespaceTerminating", message, next_step(you="create the finetune in another namespace"))
