"""`spec.model`: what is tuned, from which start, and how its inputs are read."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from finetune_api.fields import ApiModel, Args, Name, Rule, SecretRef
from finetune_api.loss_table import ModelType
from finetune_api.model_parts import Encoder, Head, Lora, Patterns, Pooling, Prompts, Tokens, Width
from finetune_api.uris import SECRET_OPENS_URI, ModelUri

__all__ = ["Encoder", "Head", "Lora", "Model", "ModelType", "Prompts", "Similarity"]

Similarity = Literal["cosine", "dot", "euclidean", "manhattan", "maxsim"]

_USUAL_SIMILARITY: dict[str, str] = {
    "Embedding": "cosine",
    "Sparse": "dot",
    "MultiVector": "maxsim",
    "Reranker": "",
}
_OF_ONE_ENCODER = ["secretRef", "maxSeqLength", "processor", "pooling", "dense", "head", "lora"]
_LISTS_OF_ONE_ENCODER = ["freeze", "allowMissingWeights"]


class Model(ApiModel):
    """The model to tune: one checkpoint (`uri`), or `encoders` joined by a Router."""

    type: ModelType = "Embedding"
    """Kind of model: Embedding gives one dense vector for an input, Sparse one sparse vector,
    MultiVector one vector for every token, Reranker one score for a pair of inputs."""
    uri: ModelUri | None = None
    """Folder of the base model: hf://owner/name@<commit>, pvc://claim/path, s3://bucket/key,
    gs://bucket/key or oci://registry/repository@<digest>."""
    secret_ref: SecretRef | None = None
    """Secret that opens `uri`, with the keys that a table's secretRef has."""
    prompts: Prompts | None = None
    """Prompts by role. Absent: those saved in the model."""
    max_seq_length: Tokens | None = None
    """Longest input in tokens. Absent: as saved in the model."""
    truncate_dim: Width | None = None
    """Embedding dimensions of the evaluation's headline and of the saved model; training sees all of them."""
    max_active_dims: Width | None = None
    """For Sparse: values of a vector that are kept, the largest first. Absent: as saved in the model."""
    processor: Args = {}
    """Arguments of the model's own processor, such as max_pixels."""
    pooling: Pooling | None = None
    """How token vectors become one vector, for a checkpoint that is not an embedding model yet.
    Absent: as saved; an Embedding checkpoint without it is an error, a new head or CSR layer takes LastToken
    for decoders and Mean for others."""
    dense: Width | None = None
    """Width of a new linear layer. Embedding: behind the pooling of a raw checkpoint. MultiVector: of the
    token vectors, 128 unless given. Sparse: of a new CSR layer (SparseAutoEncoder), four times the model's
    width unless given; a checkpoint with a masked-language head is a SPLADE model and needs none."""
    head: Head | None = None
    """For a Reranker from a checkpoint that is none yet. Absent: the reranker as saved, or a new Classifier
    on a text encoder."""
    similarity: Similarity | None = None
    """How two embeddings are compared, in evaluation and by users of the saved model.
    Absent: cosine for Embedding, dot for Sparse, maxsim for MultiVector; a Reranker has none."""
    attention: Literal["eager", "sdpa", "flash_attention_2"] | None = None
    """Implementation of attention, in training and both evaluations. Absent: the library's choice."""
    weights: Literal["float32", "bfloat16"] = "float32"
    """How weights are kept while training and in the saved model. bfloat16 halves the memory; small updates
    are lost to its rounding. See `training.autocast` for the precision of the products."""
    freeze: Patterns = []
    """Patterns (as of a shell) of parameter names that are not trained, such as visual.*."""
    allow_missing_weights: Patterns = []
    """Patterns (as of a shell) of parameter names that the checkpoint may lack; others are an error."""
    lora: Lora | None = None
    """Train low-rank adapters. Absent: all weights are trained."""
    encoders: (
        Annotated[
            list[Encoder], Field(min_length=2, max_length=8, json_schema_extra={"x-list-map-key": "route"})
        ]
        | None
    ) = None
    """Instead of `uri`: separate encoders, by query and document, by modality, or both."""
    default_route: Name | None = None
    """Encoder of inputs that no other one takes."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model. Only where the operator allows it too."""
    rules = (
        Rule(
            "has(self.uri) != has(self.encoders)",
            "`model` must have either `uri` or `encoders`",
            lambda m: (m.uri is not None) != (m.encoders is not None),
        ),
        SECRET_OPENS_URI,
        Rule(
            "!has(self.encoders) || ("
            + " && ".join(
                [
                    *(f"!has(self.{name})" for name in _OF_ONE_ENCODER),
                    *(f"(!has(self.{name}) || size(self.{name}) == 0)" for name in _LISTS_OF_ONE_ENCODER),
                ]
            )
            + ")",
            f"{', '.join(f'`{n}`' for n in (*_OF_ONE_ENCODER, *_LISTS_OF_ONE_ENCODER))} of `model` must be"
            " left out beside `encoders`: those that an encoder can have stand there",
            lambda m: m.encoders is None or not m.has_parts_of_one_encoder(),
        ),
        Rule(
            "!has(self.encoders) || self.type in ['Embedding', 'Sparse']",
            "`encoders` must be left out unless `type` is Embedding or Sparse",
            lambda m: m.encoders is None or m.type in {"Embedding", "Sparse"},
        ),
        Rule(
            "!has(self.encoders) || self.type == 'Embedding' || self.encoders.all(e, !has(e.dense))",
            "`dense` of an encoder must be left out unless `type` is Embedding",
            lambda m: m.type == "Embedding" or all(e.dense is None for e in m.encoders or ()),
        ),
        Rule(
            "!has(self.defaultRoute) || (has(self.encoders)"
            " && self.encoders.exists(e, e.route == self.defaultRoute))",
            "`defaultRoute` must name one of `encoders`",
            lambda m: m.default_route is None or any(e.route == m.default_route for e in m.encoders or ()),
        ),
        Rule(
            "!has(self.encoders) || has(self.defaultRoute) || ['query', 'document'].all(t,"
            " self.encoders.exists(e, !has(e.task) || e.task == t))",
            "`encoders` must take queries and documents: `task` query and document, an encoder without"
            " `task`, or `defaultRoute`",
            lambda m: m.encoders is None or m.default_route is not None or m.takes_both_roles(),
        ),
        Rule(
            "!has(self.encoders) || self.encoders.all(e, self.encoders.exists_one(o,"
            " (has(o.task) ? o.task : '') == (has(e.task) ? e.task : '')"
            " && (has(o.modality) ? o.modality : '') == (has(e.modality) ? e.modality : '')))",
            "each of `encoders` must have another `task` or another `modality` than the others",
            lambda m: len({(e.task, e.modality) for e in m.encoders or ()}) == len(m.encoders or ()),
        ),
        Rule(
            "!has(self.similarity) || (self.type != 'Reranker'"
            " && (self.similarity == 'maxsim') == (self.type == 'MultiVector'))",
            "`similarity` must be maxsim for MultiVector, another one for Embedding and Sparse, and left out"
            " for a Reranker",
            lambda m: (
                m.similarity is None
                or (m.type != "Reranker" and (m.similarity == "maxsim") == (m.type == "MultiVector"))
            ),
        ),
        Rule(
            "!has(self.truncateDim) || self.type == 'Embedding'",
            "`truncateDim` must be left out unless `type` is Embedding",
            lambda m: m.truncate_dim is None or m.type == "Embedding",
        ),
        Rule(
            "!has(self.maxActiveDims) || self.type == 'Sparse'",
            "`maxActiveDims` must be left out unless `type` is Sparse",
            lambda m: m.max_active_dims is None or m.type == "Sparse",
        ),
        Rule(
            "!has(self.head) || self.type == 'Reranker'",
            "`head` must be left out unless `type` is Reranker",
            lambda m: m.head is None or m.type == "Reranker",
        ),
        Rule(
            "!has(self.dense) || self.type != 'Reranker'",
            "`dense` must be left out for a Reranker; its new layer is `head`",
            lambda m: m.dense is None or m.type != "Reranker",
        ),
        Rule(
            "!has(self.pooling) || self.type in ['Embedding', 'Sparse']"
            " || (self.type == 'Reranker' && has(self.head) && self.head.type == 'Dense')",
            "`pooling` must be left out for MultiVector, and for a Reranker unless `head.type` is Dense",
            lambda m: m.pooling is None or m.pools(),
        ),
        Rule(
            "self.type != 'Reranker' || !has(self.prompts) || self.prompts.document == ''",
            "`prompts.document` must be left out for a Reranker: a pair has one prompt, `prompts.query`",
            lambda m: m.type != "Reranker" or m.prompts is None or m.prompts.document == "",
        ),
        Rule(
            "!has(self.lora) || self.lora.publish != 'Adapter'"
            " || (has(self.uri) && self.uri.startsWith('hf://'))",
            "`lora.publish` must be Merged unless `uri` is hf://: an adapter names its base by repository",
            lambda m: m.lora is None or m.lora.publish != "Adapter" or (m.uri or "").startswith("hf://"),
        ),
        Rule(
            "!has(self.lora) || !has(self.freeze) || size(self.freeze) == 0",
            "`freeze` must be left out beside `lora`, which trains none of the checkpoint's own weights",
            lambda m: m.lora is None or not m.freeze,
        ),
    )

    @model_validator(mode="after")
    def _routes_are_unique(self) -> "Model":
        routes = [e.route for e in self.encoders or ()]
        for route in routes:
            if routes.count(route) > 1:
                raise ValueError(f"encoder {route!r} must appear once, found {routes.count(route)} times")
        return self

    def has_parts_of_one_encoder(self) -> bool:
        single = [self.secret_ref, self.max_seq_length, self.pooling, self.dense, self.head, self.lora]
        return any(part is not None for part in single) or any(
            [self.processor, self.freeze, self.allow_missing_weights]
        )

    def takes_both_roles(self) -> bool:
        tasks = {e.task for e in self.encoders or ()}
        return None in tasks or tasks == {"query", "document"}

    def pools(self) -> bool:
        """Whether a pooling of its own may be built."""
        dense_head = self.head is not None and self.head.type == "Dense"
        return self.type in {"Embedding", "Sparse"} or (self.type == "Reranker" and dense_head)

    @property
    def similarity_name(self) -> str:
        """How embeddings are compared; "" for a Reranker, which compares none."""
        return self.similarity or _USUAL_SIMILARITY[self.type]

    @property
    def sources(self) -> "Mapping[str, Model | Encoder]":
        """Everything with a URI and perhaps a secretRef that is fetched: by route, "" for the only one."""
        return {e.route: e for e in self.encoders} if self.encoders is not None else {"": self}
