"""A table of a source: where it is, and how columns of mixed inputs are made of several."""

from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from finetune_api.fields import ApiModel, ColumnName, Rule, SecretRef
from finetune_api.uris import SECRET_OPENS_URI, DataUri


def require_unique(names: list[str], what: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{what} {name!r} must appear once, found {names.count(name)} times")


SplitName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", max_length=64)]

SUBSET = Rule(
    "!has(self.subset) || !has(self.uri) || self.uri.startsWith('hf://')",
    "`subset` must be left out unless `uri` is an hf:// dataset",
    lambda s: s.subset is None or s.uri is None or s.uri.startswith("hf://"),
)


class Combined(ApiModel):
    """One column of mixed inputs, made of several columns. A model reads the parts in the order below."""

    name: ColumnName
    """Name of the new column; `columns` refers to it."""
    text: ColumnName | None = None
    """Column of texts."""
    image: ColumnName | None = None
    """Column of images."""
    audio: ColumnName | None = None
    """Column of audio."""
    video: ColumnName | None = None
    """Column of videos."""
    rules = (
        Rule(
            "[has(self.text), has(self.image), has(self.audio), has(self.video)].filter(p, p).size() > 1",
            "a column of `combine` must have at least two of `text`, `image`, `audio` and `video`",
            lambda c: len(c.parts) > 1,
        ),
    )

    @property
    def parts(self) -> dict[str, str]:
        """Modality -> column, of those there are."""
        found = {"text": self.text, "image": self.image, "audio": self.audio, "video": self.video}
        return {kind: column for kind, column in found.items() if column is not None}


Combine = Annotated[list[Combined], Field(max_length=8, json_schema_extra={"x-list-map-key": "name"})]
MaxRows = Annotated[int, Field(ge=1, le=1_000_000_000)]


class TableSource(ApiModel):
    """A table: parquet, Arrow, JSON lines, CSV, a folder of media with metadata, or a dataset of a hub."""

    uri: DataUri
    """A file or a folder: hf://owner/name@<commit>, pvc://claim/path, s3://bucket/key, gs://bucket/key,
    oci://registry/repository@<digest>; or one file: https://host/file, configmap://name/key. Read are
    .parquet, .arrow (files, streams, and folders that `datasets` has saved), .jsonl, .json and .csv, and
    folders of media with a table called `metadata`, whose `file_name` becomes `image`, `audio` or `video`."""
    subset: SplitName | None = None
    """Configuration of an hf:// dataset that has several."""
    split: SplitName | None = None
    """Split of an hf:// dataset, or in a folder the files `<split>.*`, `<split>-*` or the folder `<split>`.
    Absent: a folder's only table."""
    secret_ref: SecretRef | None = None
    """Secret that opens `uri`. Its keys: for hf:// and https:// `token`; for s3:// `AWS_ACCESS_KEY_ID` and
    `AWS_SECRET_ACCESS_KEY`, perhaps `AWS_SESSION_TOKEN`, `AWS_REGION` and `AWS_ENDPOINT_URL`; for gs://
    `credentials.json`; for oci:// `.dockerconfigjson`. Absent: what the cluster gives the pod."""
    combine: Combine = []
    """Columns of mixed inputs (a text with its image, say) to make of several columns. A struct column whose
    fields are called `text`, `image`, `audio` or `video` is one already."""
    rules = (SUBSET, SECRET_OPENS_URI)

    @model_validator(mode="after")
    def _mixes_are_unique(self) -> "TableSource":
        require_unique([c.name for c in self.combine], "column of `combine`")
        return self
