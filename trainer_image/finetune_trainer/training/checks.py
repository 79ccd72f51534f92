"""Before anything is downloaded: what the models of the API cannot see."""

from collections.abc import Iterator
from contextlib import contextmanager

from finetune_api.arguments import check_args
from finetune_api.refusals import Refused
from finetune_api.spec import FinetuneSpec
from finetune_trainer.errors import InvalidSpec


def check_spec(spec: FinetuneSpec) -> None:
    """Raises InvalidSpec for arguments that the library does not have, and for columns in two roles."""
    with refusals_as_invalid():
        check_args(spec)
    _check_columns(spec)


@contextmanager
def refusals_as_invalid() -> Iterator[None]:
    """What a check of the API refuses becomes InvalidSpec."""
    try:
        yield
    except Refused as refused:
        raise InvalidSpec(refused.reason, refused.message, refused.hint) from refused


def _check_columns(spec: FinetuneSpec) -> None:
    """One column in two roles would be its own answer, or its own counter-example."""
    named = [("data.train", s.name, s.columns) for s in spec.data.train]
    named += [("data.eval", s.name, s.columns) for s in spec.data.eval if s.columns]
    for where, name, columns in named:
        twice = [c for c in columns.all if columns.all.count(c) > 1]
        if twice:
            raise InvalidSpec(
                "ColumnTwice",
                f"`{where}` {name!r}: every column must have one role, found {twice[0]!r} in"
                f" {columns.all.count(twice[0])}",
                "name another column",
            )
