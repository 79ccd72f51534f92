"""docs/losses.md from the tables: which loss is for which model and data."""

from collections.abc import Iterator

from finetune_api.argument_tables import LOSS_FIELDS, LOSS_REASONS
from finetune_api.loss_columns import wanted_text
from finetune_api.loss_defaults import WORDS, Shape, default_loss
from finetune_api.loss_table import LOSSES, LabelKind, LossTraits, ModelType
from finetune_api.signatures import loss_parameters

INTRODUCTION = """\
# Losses

`spec.loss.name` takes the class names of Sentence Transformers; a train set may have a loss of its own in
`data.train[].loss`. Without a name a run takes what suits the type of model and the columns of the data, and
says so in its notes. Names that stand for different classes in different types of models (MSELoss) are the
class of the model's type.

Batches of a ranking loss never hold the same content twice, since each row's documents are negatives of the
others; losses of classes get batches with two rows or more of several classes. Losses that encode a batch in
mini-batches choose their size by the GPU's memory unless `mini_batch_size` is among the arguments; the result
does not depend on it but for rounding and dropout.

Arguments of a loss are checked against its signature before anything is downloaded. `similarity_fct` follows
`model.similarity`. Objects of Python are given by name where they are listed in quotes in an error's text:
`distance_metric: cosine`, `weighting_scheme: NDCGLoss1Scheme`, `activation_fn: Sigmoid`.
"""
_BATCHES = {"Unique": "no content twice", "ByLabel": "by class", "Plain": ""}


def losses_page() -> str:
    """The page, as Markdown."""
    return "\n".join([INTRODUCTION, *(_section(kind) for kind in LOSSES)])


def _section(model_type: ModelType) -> str:
    rows = [_row(model_type, name, traits) for name, traits in LOSSES[model_type].items()]
    return "\n".join([
        f"## {model_type}", "",
        "| Data | Loss by default |", "|---|---|", *_defaults(model_type), "",
        "| Loss | Data | Batches | Arguments |", "|---|---|---|---|", *rows, "",
    ])  # fmt: skip


def _defaults(model_type: ModelType) -> Iterator[str]:
    kinds: list[LabelKind | None] = [None, *WORDS]
    for inputs in (1, 2, 3):
        for kind in kinds:
            if (kind == "Scores" and inputs < 3) or (kind == "Margins" and inputs < 3):
                continue
            found = default_loss(model_type, Shape(inputs, kind))
            if found is not None:
                label = f"label: {WORDS[kind]}" if kind else "no label"
                columns = (
                    f"{inputs}{' or more' if inputs == 3 else ''} input column{'s' if inputs > 1 else ''}"
                )
                name = f"`{found.name}`" + (f" over `{found.inner}`" if found.inner else "")
                yield f"| {columns}; {label} | {name} |"


def _row(model_type: ModelType, name: str, traits: LossTraits) -> str:
    data = "of the inner loss" if traits.wrapper else wanted_text(traits)
    where = "" if traits.alone else " (`inner` of SpladeLoss, CachedSpladeLoss, CSRLoss)"
    known = set(loss_parameters(model_type, name)) - set(LOSS_REASONS) - set(LOSS_FIELDS)
    arguments = ", ".join(f"`{parameter}`" for parameter in sorted(known))
    return f"| `{name}`{where} | {data} | {_BATCHES[traits.batches]} | {arguments} |"
