"""Parts of `spec.model`: prompts, encoders of a Router, a reranker's head, LoRA."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from finetune_api.fields import ApiModel, Args, Name, PositiveUnitDecimal, Rule, SecretRef, UnitDecimal
from finetune_api.uris import SECRET_OPENS_URI, ModelUri

Prompt = Annotated[str, StringConstraints(max_length=2048)]
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Patterns = Annotated[list[Pattern], Field(max_length=32)]
TokenText = Annotated[str, StringConstraints(min_length=1, max_length=64)]
ModuleName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.]+$", max_length=128)]
Width = Annotated[int, Field(ge=1, le=65_536)]
Tokens = Annotated[int, Field(ge=1, le=131_072)]
Pooling = Literal["Mean", "LastToken", "Cls"]
Task = Literal["query", "document"]
Modality = Literal["text", "image", "audio", "video"]


class Prompts(ApiModel):
    """Text put before an input, by its role. Used in training, in evaluation and saved with the model."""

    query: Prompt = ""
    """Put before every query; for a Reranker, before every pair."""
    document: Prompt = ""
    """Put before every document."""


class OtherModel(ApiModel):
    """A model that helps and is not tuned."""

    uri: ModelUri
    """Where it is, as for `model.uri`."""
    secret_ref: SecretRef | None = None
    """Secret of the model's source, as for `model.secretRef`."""
    rules = (SECRET_OPENS_URI,)


class Encoder(ApiModel):
    """One of several encoders joined by a Router, which sends each input to one of them."""

    route: Name
    """Name of the encoder in the saved Router."""
    uri: ModelUri
    """Where the encoder is: an embedding or sparse model, or a raw checkpoint."""
    secret_ref: SecretRef | None = None
    """Secret that opens `uri`, with the keys that a table's secretRef has."""
    task: Task | None = None
    """Role of the inputs that it takes: query or document. Absent: both."""
    modality: Modality | None = None
    """Kind of inputs that it takes: text, image, audio or video. Absent: whatever it can read."""
    max_seq_length: Tokens | None = None
    """Longest input in tokens. Absent: as saved."""
    processor: Args = {}
    """Arguments of the encoder's own processor, such as max_pixels."""
    pooling: Pooling | None = None
    """How token vectors become one vector, for a raw checkpoint. Absent: as saved."""
    dense: Width | None = None
    """Width of a new linear layer behind the encoder: all encoders must end in the same number of dimensions.
    Absent: no new layer."""
    freeze: Patterns = []
    """Patterns (as of a shell) of parameter names that are not trained, such as * for the whole encoder as it
    was loaded; its new `dense` layer is always trained."""
    learning_rate: PositiveUnitDecimal | None = None
    """Highest learning rate of this encoder. Absent: `training.learningRate`."""
    allow_missing_weights: Patterns = []
    """Patterns of parameter names that the checkpoint may lack; others are an error."""
    rules = (
        Rule(
            "has(self.task) || has(self.modality)",
            "an encoder must have `task`, `modality` or both",
            lambda e: e.task is not None or e.modality is not None,
        ),
        SECRET_OPENS_URI,
    )


class Head(ApiModel):
    """What makes a score of a pair, on a checkpoint that is not a reranker yet."""

    type: Literal["Classifier", "Dense", "LogitScore"]
    """Classifier: the architecture's own classification head, for text encoders. Dense: a new linear layer
    over the pooled vector. LogitScore: the logit of `trueToken` minus that of `falseToken`, for language
    models."""
    labels: Annotated[int, Field(ge=1, le=1024)] = 1
    """Classes of a Classifier; 1 gives one score for a pair."""
    true_token: TokenText | None = None
    """Text of the token that stands for relevant, such as 1 or yes: one token of the model's tokenizer."""
    false_token: TokenText | None = None
    """Text of the token that stands for not relevant. Absent: the score is the logit of `trueToken` alone."""
    rules = (
        Rule(
            "(self.type == 'LogitScore') == has(self.trueToken)"
            " && (self.type == 'LogitScore' || !has(self.falseToken))",
            "`head.trueToken` must be given for LogitScore; other heads have neither it nor `falseToken`",
            lambda h: (
                (h.type == "LogitScore") == (h.true_token is not None)
                and (h.type == "LogitScore" or h.false_token is None)
            ),
        ),
        Rule(
            "self.type == 'Classifier' || self.labels == 1",
            "`head.labels` must be 1 unless `head.type` is Classifier",
            lambda h: h.type == "Classifier" or h.labels == 1,
        ),
    )


class Lora(ApiModel):
    """Low-rank adapters: the checkpoint's own weights stay, small matrices beside them are trained.

    New layers, such as a head, are trained in full.
    """

    rank: Annotated[int, Field(ge=1, le=1024)] = 16
    """Rank of the matrices."""
    alpha: Annotated[int, Field(ge=1, le=8192)] = 32
    """Scale of the matrices: their product counts alpha / rank."""
    dropout: UnitDecimal = "0"
    """Dropout before the matrices; below 1."""
    target_modules: Annotated[list[ModuleName], Field(max_length=64)] = []
    """Names, or ends of names, of the linear layers that get adapters, such as q_proj. Absent: the
    projections of every attention layer."""
    publish: Literal["Merged", "Adapter"] = "Merged"
    """Merged: the tuned model is complete. Adapter: only the adapter is published, over an hf:// base, with
    its repository and commit; libraries that load an adapter take the newest commit of its base."""
    rules = (
        Rule("double(self.dropout) < 1.0", "`lora.dropout` must be below 1", lambda s: float(s.dropout) < 1),
    )
