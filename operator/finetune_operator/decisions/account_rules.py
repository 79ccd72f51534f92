"""As whom a pod may run: a rule of `plan` before a Job is made.

To make a Job is nearly to act as any service account of its namespace. The account itself must therefore say
that finetunes may have it; whoever may write accounts decides, not whoever may write finetunes.
"""

from finetune_api import names
from finetune_operator.decisions.observed import Object
from finetune_operator.decisions.situation import Situation
from finetune_operator.decisions.steps import Step
from finetune_operator.decisions.texts import next_step
from finetune_operator.errors import Waiting

ACCOUNT_POLL_SECONDS = 15.0
"""Between looks at an account: the operator watches none."""


def wait_for_an_account_that_allows_it(situation: Situation) -> Step | None:
    """Both an account and its label may come a minute later, from Git or from the platform team.

    An attempt that has its Job keeps its account; a label that is taken away counts from the next Job on.
    """
    name = situation.spec.runtime.service_account_name
    if name is None or situation.observed.job is not None:
        return None
    account = situation.observed.service_account
    if account is None:
        told = (
            f"ServiceAccount {name} (spec.runtime.serviceAccountName) is not in namespace"
            f" {situation.namespace}. {next_step(you='create it, or name another one')}"
        )
        raise Waiting("ServiceAccountMissing", told, ACCOUNT_POLL_SECONDS)
    if not _allows_finetunes(account):
        label = f"{names.LABEL_ALLOW_FINETUNES}=true"
        step = next_step(
            you="name another account, or none",
            platform=f"or run `kubectl -n {situation.namespace} label serviceaccount {name} {label}`",
        )
        told = f"ServiceAccount {name} (spec.runtime.serviceAccountName) lacks the label {label}. {step}"
        raise Waiting("ServiceAccountNotAllowed", told, ACCOUNT_POLL_SECONDS)
    return None


def _allows_finetunes(account: Object) -> bool:
    labels = account["metadata"].get("labels") or {}
    return labels.get(names.LABEL_ALLOW_FINETUNES) == "true"
