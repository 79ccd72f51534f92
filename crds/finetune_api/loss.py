"""`spec.loss`: what is optimised, by the library's class names."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from finetune_api.fields import ApiModel, Args, Rule
from finetune_api.loss_table import (
    AT_DIMENSIONS,
    GUIDED,
    LOSSES,
    OVER_LAYERS,
    ModelType,
    inner_names,
    names_where,
    standing_names,
)
from finetune_api.model_parts import OtherModel

Dimension = Annotated[int, Field(ge=1, le=65_536)]

if TYPE_CHECKING:
    LossName = str
    InnerName = str
else:
    LossName = Literal[tuple(dict.fromkeys(name for kind in LOSSES for name in standing_names(kind)))]
    InnerName = Literal[tuple(dict.fromkeys(name for kind in LOSSES for name in inner_names(kind)))]

WRAPPERS = names_where(wrapper=True)
"""Losses that stand around an inner one."""
_CACHED = names_where(cached=True)
WHOLE = [*names_where(sliceable=False), "AdaptiveLayerLoss"]
"""Losses that cannot be taken at fewer dimensions."""


class InnerLoss(ApiModel):
    """The loss inside a wrapper."""

    name: InnerName
    """Class name in Sentence Transformers."""
    args: Args = {}
    """Further arguments of the class, such as scale."""


def _listed(names: list[str] | tuple[str, ...]) -> str:
    return "[" + ", ".join(f"'{n}'" for n in names) + "]"


_GUIDED_CEL = (
    f"((has(self.name) && self.name in {_listed(GUIDED)})"
    f" || (has(self.inner) && self.inner.name in {_listed(GUIDED)}))"
)


class Loss(ApiModel):
    """The loss, by the library's class name."""

    name: LossName | None = None
    """Class name in Sentence Transformers. Absent: what suits the type of model and the columns of the data;
    the run says which and why. docs/losses.md lists them all with their data."""
    matryoshka_dims: Annotated[list[Dimension], Field(min_length=1, max_length=16)] | None = None
    """Dimensions that must each work alone, largest first. Absent: only the full one."""
    args: Args = {}
    """Further arguments of the class, such as scale."""
    inner: InnerLoss | None = None
    """The loss inside a wrapper (MatryoshkaLoss, AdaptiveLayerLoss, Matryoshka2dLoss, SpladeLoss,
    CachedSpladeLoss, CSRLoss). Absent: what suits the data."""
    guide: OtherModel | None = None
    """The embedding model that guides GISTEmbedLoss and CachedGISTEmbedLoss: it tells negatives that answer
    the query after all."""
    rules = (
        Rule(
            "!has(self.matryoshkaDims) || (self.matryoshkaDims.map(d, -d).isSorted()"
            " && self.matryoshkaDims.all(d, self.matryoshkaDims.exists_one(e, e == d)))",
            "`matryoshkaDims` must go from the largest to the smallest, each once",
            lambda s: (
                not s.matryoshka_dims or s.matryoshka_dims == sorted(set(s.matryoshka_dims), reverse=True)
            ),
        ),
        Rule(
            f"!has(self.name) || !(self.name in {_listed(AT_DIMENSIONS)}) || has(self.matryoshkaDims)",
            f"`matryoshkaDims` must be given for {' and '.join(AT_DIMENSIONS)}",
            lambda s: s.name not in AT_DIMENSIONS or s.matryoshka_dims is not None,
        ),
        Rule(
            f"!has(self.matryoshkaDims) || ((!has(self.name) || !(self.name in {_listed(WHOLE)}))"
            f" && (!has(self.inner) || !(self.inner.name in {_listed(WHOLE)})))",
            f"`matryoshkaDims` must be left out for losses that need the whole vector: {', '.join(WHOLE)}",
            lambda s: s.matryoshka_dims is None or not {s.name, s.inner_name} & set(WHOLE),
        ),
        Rule(
            f"!has(self.inner) || (has(self.name) && self.name in {_listed(WRAPPERS)})",
            f"`inner` must be left out unless `name` is a wrapper: {', '.join(WRAPPERS)}",
            lambda s: s.inner is None or s.name in WRAPPERS,
        ),
        Rule(
            f"!has(self.name) || !(self.name in {_listed(OVER_LAYERS)}) || !has(self.inner)"
            f" || !(self.inner.name in {_listed(_CACHED)})",
            f"`inner` must not be a cached loss in {' and '.join(OVER_LAYERS)}: they need its layers",
            lambda s: s.name not in OVER_LAYERS or s.inner_name not in _CACHED,
        ),
        Rule(
            f"has(self.guide) == {_GUIDED_CEL}",
            f"`guide` must be given for {' and '.join(GUIDED)}, and left out for other losses",
            lambda s: (s.guide is not None) == bool({s.name, s.inner_name} & set(GUIDED)),
        ),
    )

    @property
    def inner_name(self) -> str | None:
        return self.inner.name if self.inner else None

    def fits(self, model_type: ModelType) -> bool:
        """Whether the classes that it names are for this type of model."""
        outer, inner = standing_names(model_type), inner_names(model_type)
        return (self.name is None or self.name in outer) and (
            self.inner_name is None or self.inner_name in inner
        )


def _fits(loss: str) -> str:
    """CEL: the loss that `loss` refers to fits `self.model.type`."""
    parts = []
    for model_type in LOSSES:
        outer, inner = _listed(standing_names(model_type)), _listed(inner_names(model_type))
        wrong = f"has({loss}.name) && !({loss}.name in {outer})"
        if inner_names(model_type):
            wrong += f" || has({loss}.inner) && !({loss}.inner.name in {inner})"
        parts.append(f"(self.model.type != '{model_type}' || !({wrong}))")
    return " && ".join(parts)


def _of_all(spec: Any) -> list[Loss]:
    return [spec.loss, *(s.loss for s in spec.data.train if s.loss is not None)]


SPEC_RULES = (
    Rule(
        f"({_fits('self.loss')}) && self.data.train.all(s, !has(s.loss) || ({_fits('s.loss')}))",
        "`loss.name` and `loss.inner.name` must be losses for `model.type`, as docs/losses.md lists them",
        lambda s: all(loss.fits(s.model.type) for loss in _of_all(s)),
    ),
    Rule(
        "self.model.type == 'Embedding' || (!has(self.loss.matryoshkaDims)"
        " && self.data.train.all(s, !has(s.loss) || !has(s.loss.matryoshkaDims)))",
        "`loss.matryoshkaDims` must be left out unless `model.type` is Embedding",
        lambda s: s.model.type == "Embedding" or all(loss.matryoshka_dims is None for loss in _of_all(s)),
    ),
)
"""Rules of the whole spec over its losses, those of single train sets too."""
