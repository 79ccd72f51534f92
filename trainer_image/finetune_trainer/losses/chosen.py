"""What a loss is chosen from, and what was chosen."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from finetune_api.loss_table import LabelKind, LossTraits, ModelType
from finetune_api.model_parts import OtherModel
from finetune_trainer.models.dimensions import embedding_dimension

if TYPE_CHECKING:
    from finetune_trainer.models.kinds import AnyModel


@dataclass(frozen=True)
class ModelFacts:
    """What a choice depends on. static: an encoder without layers reads the inputs, so that batches cannot be
    cut; csr: a sparse model with an autoencoder; outputs: scores that a reranker gives for a pair;
    width: of a vector, 0 where it is not known and so not checked.
    """

    type: ModelType
    static: bool = False
    csr: bool = False
    outputs: int = 1
    width: int = 0


@dataclass(frozen=True)
class ChosenLoss:
    """The loss of one train set.

    name, inner: classes; inner is None unless the first is a wrapper. dims: Matryoshka dimensions.
    traits: of the innermost, which sees the data. label: how the label is read. lists_columns: whether the
    documents of a row stand in columns and the loss wants them as a list. note: what was chosen and why,
    "" when the spec said all.
    """

    data: str
    name: str
    inner: str | None
    traits: LossTraits
    label: LabelKind | None
    args: dict[str, Any] = field(default_factory=dict)
    inner_args: dict[str, Any] = field(default_factory=dict)
    dims: tuple[int, ...] | None = None
    guide: OtherModel | None = None
    lists_columns: bool = False
    note: str = ""

    @property
    def in_words(self) -> str:
        """`<set>: <class> over <class>`, and whether the spec named them all."""
        classes = f"{self.name} over {self.inner}" if self.inner else self.name
        return f"{self.data}: {classes}{' by default' if self.note else ''}"

    @property
    def innermost(self) -> str:
        return self.inner or self.name

    @property
    def cached(self) -> bool:
        return "Cached" in self.name or self.traits.cached


def model_facts(model: "AnyModel", model_type: ModelType) -> ModelFacts:
    """Looks at the modules."""
    from sentence_transformers.base.losses.gradcache import has_static_embedding_input

    names = {type(module).__name__ for module in model.modules()}
    return ModelFacts(
        type=model_type,
        static=model_type != "Reranker" and has_static_embedding_input(model),
        csr="SparseAutoEncoder" in names,
        outputs=getattr(model, "num_labels", 1) or 1 if model_type == "Reranker" else 1,
        width=embedding_dimension(model),
    )
