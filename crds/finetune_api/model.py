"""`spec.model`: what is tuned, and how its inputs are read."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from finetune_api.fields import ApiModel, Args, SecretRef
from finetune_api.loss_table import ModelType
from finetune_api.uris import ModelUri

Prompt = Annotated[str, StringConstraints(max_length=2048)]
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class Prompts(ApiModel):
    """Text put before an input, by its role. Used in training, in evaluation and saved with the model."""

    query: Prompt = ""
    """Put before every query."""
    document: Prompt = ""
    """Put before every document."""


class Model(ApiModel):
    """The model to tune."""

    type: ModelType = "Embedding"
    """Kind of model: Embedding gives one dense vector for an input, Sparse one sparse vector, MultiVector a
    vector for each token, Reranker a score for a pair of inputs."""
    uri: ModelUri
    """Folder of the base model: hf://owner/name@<commit>, pvc://claim/path, s3://bucket/key,
    gs://bucket/key or oci://registry/repository@<digest>."""
    secret_ref: SecretRef | None = None
    """Secret that opens `uri`, with the keys that a table's secretRef has."""
    prompts: Prompts | None = None
    """Prompts by role. Absent: those saved in the model."""
    max_seq_length: Annotated[int, Field(ge=1, le=131_072)] | None = None
    """Longest input in tokens. Absent: as saved in the model."""
    truncate_dim: Annotated[int, Field(ge=1, le=65_536)] | None = None
    """Embedding dimensions of the evaluation's headline and of the saved model; training sees all of them."""
    processor: Args = {}
    """Arguments of the model's own processor, such as max_pixels."""
    pooling: Literal["Mean", "LastToken", "Cls"] | None = None
    """How token vectors become one vector, for a checkpoint that is not an embedding model yet.
    Absent: as saved; a checkpoint without it is an error."""
    similarity: Literal["cosine", "dot"] = "cosine"
    """How two embeddings are compared, in evaluation and by users of the saved model."""
    allow_missing_weights: Annotated[list[Pattern], Field(max_length=32)] = []
    """Patterns (as of a shell) of parameter names that the checkpoint may lack; others are an error."""
