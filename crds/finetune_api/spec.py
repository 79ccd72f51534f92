"""`spec`: the whole of what a user writes, and the rules between its parts."""

from finetune_api.data import Data
from finetune_api.evaluation import EvaluationSpec
from finetune_api.fields import ApiModel, Rule
from finetune_api.loss import SPEC_RULES, Loss
from finetune_api.model import Model
from finetune_api.references import Reference, references
from finetune_api.runtime import Limits, Output, Runtime
from finetune_api.training import Training


class FinetuneSpec(ApiModel):
    """Tune a model, measure it before and after, and publish it when it passes the gates."""

    model: Model
    """The model to tune."""
    data: Data
    """What to train and measure on."""
    loss: Loss = Loss()
    """The loss."""
    training: Training = Training()
    """How to train."""
    evaluation: EvaluationSpec
    """How to measure, and what to reach."""
    output: Output | None = None
    """Where to publish. Absent: the run measures and publishes nothing."""
    runtime: Runtime = Runtime()
    """What the pod gets."""
    limits: Limits = Limits()
    """When to try again and when to give up."""
    rules = (
        Rule(
            "self.evaluation.evaluators.all(e, self.data.eval.exists(d, d.name == e.data))",
            "every evaluator's `data` must name one of `data.eval`",
            lambda s: all(any(d.name == e.data for d in s.data.eval) for e in s.evaluation.evaluators),
        ),
        Rule(
            "!has(self.training.selection)"
            " || self.evaluation.evaluators.exists(e, e.name == self.training.selection.evaluator)",
            "`training.selection.evaluator` must name one of `evaluation.evaluators`",
            lambda s: not s.training.selection or s.evaluation.has_evaluator(s.training.selection.evaluator),
        ),
        Rule(
            "!has(self.training.selection) || !has(self.evaluation.gates)"
            " || self.evaluation.gates.all(g, !self.evaluation.evaluators.exists(e, e.name == g.evaluator"
            " && self.evaluation.evaluators.exists(s, s.name == self.training.selection.evaluator"
            " && s.data == e.data)))",
            "`training.selection` must judge on data that no gate reads",
            lambda s: s.selects_apart_from_gates(),
        ),
        Rule(
            "!has(self.model.truncateDim) || !has(self.loss.matryoshkaDims)"
            " || self.model.truncateDim in self.loss.matryoshkaDims",
            "`model.truncateDim` must be one of `loss.matryoshkaDims`",
            lambda s: (
                s.model.truncate_dim is None
                or s.loss.matryoshka_dims is None
                or s.model.truncate_dim in s.loss.matryoshka_dims
            ),
        ),
        *SPEC_RULES,
    )

    def references(self) -> tuple[Reference, ...]:
        """Every URI of the spec with its Secret, the target's among them."""
        return tuple(references(self))

    def selects_apart_from_gates(self) -> bool:
        selection = self.training.selection
        if selection is None:
            return True
        data = {e.name: e.data for e in self.evaluation.evaluators}
        judged_on = data.get(selection.evaluator)
        return judged_on is None or all(data.get(g.evaluator) != judged_on for g in self.evaluation.gates)
