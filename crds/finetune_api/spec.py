"""`spec`: the whole of what a user writes, and the rules between its parts."""

from typing import Annotated

from pydantic import StringConstraints, model_validator

from finetune_api import hard_negatives
from finetune_api.data import RANKINGS, Data
from finetune_api.evaluation import EvaluationSpec
from finetune_api.evaluator_args import wrong_argument
from finetune_api.evaluator_types import TYPES, cel_has_metric, cel_table, has_metric, wrong_metric
from finetune_api.fields import ApiModel, Rule
from finetune_api.limits import Limits
from finetune_api.loss import SPEC_RULES, Loss
from finetune_api.model import Model
from finetune_api.output import Output
from finetune_api.references import Reference, references
from finetune_api.runtime import Runtime
from finetune_api.training import Training

_TYPES_FIT = "every evaluator's `type` must be one that measures models of `model.type`"
_SELECTION_FITS = "`training.selection.metric` must be one that its evaluator's type has"


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
    suspend: bool = False
    """Stop the pod, with a checkpoint where `runtime.checkpoints` has a place for it; false goes on with the
    same run."""
    rerun: Annotated[str, StringConstraints(max_length=64)] = ""
    """Any new text, such as a date, runs the same spec again."""
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
            "!has(self.training.selection) || !has(self.training.selection.metric)"
            " || self.evaluation.evaluators.all(e, e.name != self.training.selection.evaluator"
            f" || {cel_has_metric('e', 'self.training.selection.metric')})",
            _SELECTION_FITS,
            lambda s: s.selects_by_a_known_metric(),
        ),
        Rule(
            f"self.evaluation.evaluators.all(e, self.model.type in {cel_table('models')}[e.type])",
            _TYPES_FIT,
            lambda s: s.evaluators_fit(),
        ),
        Rule(
            "self.evaluation.evaluators.all(e, self.data.eval.all(d, d.name != e.data"
            " || (e.type == 'NanoBEIR' ? has(d.uri) && !has(d.columns)"
            f" : e.type in {list(RANKINGS)} ? has(d.qrels) || (has(d.columns) && has(d.columns.query))"
            " : has(d.columns))))",
            "an evaluator's eval set must have `query` and `positive` or judgements for InformationRetrieval"
            " and Reranking; `uri` alone for NanoBEIR; `columns` for all others",
            lambda s: all(
                d.name != e.data or d.suits(e.type) for e in s.evaluation.evaluators for d in s.data.eval
            ),
        ),
        Rule(
            "self.evaluation.compareTo != 'Published' || has(self.output)",
            "`evaluation.compareTo` must not be Published without `output`: nothing is ever published",
            lambda s: s.evaluation.compare_to != "Published" or s.output is not None,
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
        hard_negatives.SPEC_RULE,
    )

    @model_validator(mode="after")
    def _evaluators_take_their_arguments(self) -> "FinetuneSpec":
        for evaluator in self.evaluation.evaluators:
            complaint = wrong_argument(evaluator.type, self.model.type, evaluator.args)
            if complaint is not None:
                raise ValueError(f"evaluator {evaluator.name!r}: {complaint}")
        return self

    def evaluators_fit(self) -> bool:
        """True, or a ValueError that says which evaluators the model could have."""
        for evaluator in self.evaluation.evaluators:
            if self.model.type not in TYPES[evaluator.type].models:
                fit = ", ".join(t for t, facts in TYPES.items() if self.model.type in facts.models)
                raise ValueError(
                    f"{_TYPES_FIT}; {self.model.type} models can have {fit}; found {evaluator.type} in"
                    f" evaluator {evaluator.name!r}"
                )
        return True

    def selects_by_a_known_metric(self) -> bool:
        """True, or a ValueError that says which metric was meant."""
        selection = self.training.selection
        if selection is None or selection.metric is None:
            return True
        type_ = self.evaluation.evaluator(selection.evaluator).type
        if not has_metric(type_, selection.metric):
            raise ValueError(f"{_SELECTION_FITS}: {wrong_metric(type_, selection.metric)}")
        return True

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
