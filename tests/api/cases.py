"""Broken specs, keyed by a sentence: for every rule one, with its message; and for every bound one.

Models and API server are held against the same tables.
"""

from typing import Any

from finetune_api.loss import WHOLE, WRAPPERS
from tests.api.pod_cases import POD_ACCEPTED, POD_BROKEN_RULES, POD_OUT_OF_BOUNDS
from tests.api.specs import ABSENT, COMMIT, DIGEST, JUDGED, PAIRS

Changes = dict[str, Any]

ENCODERS = [
    {"route": "query", "task": "query", "uri": "pvc://models/query"},
    {"route": "document", "task": "document", "uri": "pvc://models/document"},
]
ROUTED: Changes = {"model": {"encoders": ENCODERS}}

BROKEN_RULES: dict[str, tuple[Changes, str]] = {
    "a model from a web server": (
        {"model.uri": "https://host/model"},
        "`uri` must begin with hf:// or pvc:// or s3:// or gs:// or oci://",
    ),
    "data from an unknown place": (
        {"data.train.0.uri": "s4://bucket/data"},
        "`uri` must begin with hf:// or pvc:// or s3:// or gs:// or oci:// or https:// or configmap://",
    ),
    "a target that nobody can write to": (
        {"output.uri": "https://host/models"},
        "`uri` must begin with pvc:// or s3:// or gs:// or hf:// or oci://",
    ),
    "checkpoints nowhere": (
        {"runtime.checkpoints": {"keep": 1}},
        "`runtime.checkpoints` must have either `claim` or `uri`",
    ),
    "a secret for checkpoints on a volume": (
        {"runtime.checkpoints": {"claim": "scratch", "secretRef": {"name": "s3"}}},
        "`runtime.checkpoints.secretRef` must be left out without `uri`",
    ),
    "checkpoints on a hub": (
        {"runtime.checkpoints": {"uri": "hf://owner/name"}},
        "`uri` must begin with s3:// or gs://",
    ),
    "a secret for a volume": (
        {"output": {"uri": "pvc://models/one", "secretRef": {"name": "s3"}}},
        "`output.secretRef` must be left out for a pvc:// `output.uri`",
    ),
    "a repository without a commit": (
        {"model.uri": "hf://owner/model"},
        "an hf:// `uri` must pin a commit: hf://owner/name@<40 hexadecimal digits>",
    ),
    "a claim with a capital letter": (
        {"model.uri": "pvc://Models/one"},
        "a pvc:// `uri` must read pvc://claim/path, in letters, digits and . _ = @ + -",
    ),
    "a path out of the volume": (
        {"data.eval.0.uri": "pvc://data/../other"},
        "a pvc://, s3:// or gs:// `uri` must not contain . or .. as a folder",
    ),
    "a secret for a table on a volume": (
        {"data.train.0.secretRef": {"name": "token"}},
        "`secretRef` must be left out for a pvc:// or configmap:// `uri`, which needs none",
    ),
    "a bucket with a capital letter": (
        {"model.uri": "s3://Bucket/model"},
        "an s3:// or gs:// `uri` must read s3://bucket/key, in letters, digits and . _ = @ + -",
    ),
    "an artifact by its tag": (
        {"model.uri": "oci://registry.example/team/model:latest"},
        "an oci:// `uri` must pin a digest: oci://registry/repository@sha256:<64 hexadecimal digits>",
    ),
    "an artifact to publish to by its digest": (
        {"output.uri": f"oci://registry.example/team/model@{DIGEST}"},
        "an oci:// `uri` to publish to must read oci://registry/repository, without a tag or digest",
    ),
    "a repository to publish to at a commit": (
        {"output.uri": f"hf://owner/model@{COMMIT}"},
        "an hf:// `uri` to publish to must read hf://owner/name, without a revision",
    ),
    "a ConfigMap without a key": (
        {"data.train.0.uri": "configmap://rows"},
        "a configmap:// `uri` must read configmap://name/key",
    ),
    "a web address with a password": (
        {"data.train.0.uri": "https://user:word@host/data.csv"},
        "an https:// `uri` must read https://host/path, without user, password or blanks",
    ),
    "a subset of something that has none": (
        {"data.train.0.subset": "en"},
        "`subset` must be left out unless `uri` is an hf:// dataset",
    ),
    "an eval set of pairs that also has qrels": (
        {"data.eval.0.qrels": JUDGED["qrels"]},
        "an eval set must have either `uri` (a table, with `columns`), or `queries`, `corpus` and `qrels`",
    ),
    "groups of a set without columns": (
        {"data.eval.0.columns": ABSENT, "data.eval.0.groupBy": "language"},
        "an eval set without `columns` (folders `corpus`, `queries` and `qrels`) must have nothing but `uri`",
    ),
    "columns by role and in order": (
        {"data.train.0.columns.inputs": ["a", "b"]},
        "`columns` must name either `query` and `positive` (and perhaps `negatives`), or `inputs`",
    ),
    "a mix of one": (
        {"data.train.0.combine": [{"name": "page", "text": "title"}]},
        "a column of `combine` must have at least two of `text`, `image`, `audio` and `video`",
    ),
    "hard negatives deeper than the search": (
        {"data.hardNegatives": {"perQuery": 3, "skipTop": 2, "searchDepth": 4}},
        "`searchDepth` must be at least `skipTop` plus `perQuery`",
    ),
    "hard negatives between scores that cross": (
        {"data.hardNegatives": {"minScore": "0.5", "maxScore": "5e-1"}},
        "`minScore` must be below `maxScore`",
    ),
    "a reranker of hard negatives that decides nothing": (
        {"data.hardNegatives": {"crossEncoder": {"uri": "pvc://models/reranker"}}},
        "`crossEncoder` must have a margin, `maxScore` or `minScore` beside it, or it decides nothing",
    ),
    "hard negatives of rows with a label": (
        {"data.hardNegatives": {}, "data.train.0.columns.label": "score"},
        "`hardNegatives` must have a train set with `query` and `positive` and without `label`",
    ),
    "hard negatives that a reranker should search": (
        {"data.hardNegatives": {}, "model.type": "Reranker"},
        "`data.hardNegatives.retriever` must be given for a Reranker, which cannot search",
    ),
    "dimensions from small to large": (
        {"loss": {"matryoshkaDims": [64, 128]}},
        "`matryoshkaDims` must go from the largest to the smallest, each once",
    ),
    "a Matryoshka loss without dimensions": (
        {"loss": {"name": "MatryoshkaLoss"}},
        "`matryoshkaDims` must be given for MatryoshkaLoss and Matryoshka2dLoss",
    ),
    "dimensions for a loss that needs them all": (
        {"loss": {"name": "SoftmaxLoss", "matryoshkaDims": [64]}},
        "`matryoshkaDims` must be left out for losses that need the whole vector: " + ", ".join(WHOLE),
    ),
    "a loss inside one that is no wrapper": (
        {"loss": {"name": "CoSENTLoss", "inner": {"name": "TripletLoss"}}},
        "`inner` must be left out unless `name` is a wrapper: " + ", ".join(WRAPPERS),
    ),
    "a cached loss over layers": (
        {"loss": {"name": "AdaptiveLayerLoss", "inner": {"name": "CachedMultipleNegativesRankingLoss"}}},
        "`inner` must not be a cached loss in AdaptiveLayerLoss and Matryoshka2dLoss: they need its layers",
    ),
    "a guided loss without a guide": (
        {"loss": {"name": "GISTEmbedLoss"}},
        "`guide` must be given for GISTEmbedLoss and CachedGISTEmbedLoss, and left out for other losses",
    ),
    "a loss of another type of model": (
        {"loss": {"name": "BinaryCrossEntropyLoss"}},
        "`loss.name` and `loss.inner.name` must be losses for `model.type`, as docs/losses.md lists them",
    ),
    "dimensions for a reranker": (
        {"model.type": "Reranker", "loss": {"matryoshkaDims": [64]}},
        "`loss.matryoshkaDims` must be left out unless `model.type` is Embedding",
    ),
    "no epoch at all": ({"training": {"epochs": "0"}}, "must be greater than 0"),
    "more epochs than anybody waits for": ({"training": {"epochs": "10001"}}, "must be at most 10000"),
    "a negative warm-up": ({"training": {"warmupRatio": "-0.1"}}, "must not be negative"),
    "a learning rate of two": ({"training": {"learningRate": "2"}}, "must be at most 1"),
    "a gate that asks for nothing": (
        {"evaluation.gates.0": {"evaluator": "test"}},
        "a gate must have `minimum`, `minimumGain` or `maximumDrop`",
    ),
    "a gate that asks for a gain and allows a drop": (
        {"evaluation.gates.0.maximumDrop": "0.01"},
        "a gate must not have both `minimumGain` and `maximumDrop`: one interval decides",
    ),
    "a minimum that nothing can reach": (
        {"evaluation.gates.0.minimum": "1.01"},
        "`minimum` must be at most 1",
    ),
    "a gate on a metric of another type": (
        {"evaluation.gates.0.metric": "spearman"},
        "every `metric` must be one that its evaluator's type has",
    ),
    "a selection by a metric of another type": (
        {"training": {"selection": {"evaluator": "dev", "metric": "accuracy"}}},
        "`training.selection.metric` must be one that its evaluator's type has",
    ),
    "scores of pairs from a model that has none": (
        {"evaluation.evaluators.0.type": "Correlation"},
        "every evaluator's `type` must be one that measures models of `model.type`",
    ),
    "a comparison with what is never published": (
        {"evaluation.compareTo": "Published", "output": ABSENT},
        "`evaluation.compareTo` must not be Published without `output`: nothing is ever published",
    ),
    "a gain that nothing can reach": (
        {"evaluation.gates.0.minimumGain": "1"},
        "`minimumGain` must be at least -1 and below 1",
    ),
    "a headline of no evaluator": (
        {"evaluation.primary.evaluator": "other"},
        "`primary.evaluator` must name one of `evaluators`",
    ),
    "a gate of no evaluator": (
        {"evaluation.gates.0.evaluator": "other"},
        "every gate's `evaluator` must name one of `evaluators`",
    ),
    "a gain over nothing": (
        {"evaluation.compareTo": "None"},
        "`minimumGain` and `maximumDrop` must be left out when `compareTo` is None: there is no gain",
    ),
    "an evaluator without data": (
        {"evaluation.evaluators.0.data": "other"},
        "every evaluator's `data` must name one of `data.eval`",
    ),
    "triplets of a set of judgements": (
        {"evaluation.evaluators.1.type": "Triplet"},
        (
            "an evaluator's eval set must have `query` and `positive` or judgements for InformationRetrieval"
            " and Reranking; `uri` alone for NanoBEIR; `columns` for all others"
        ),
    ),
    "a selection by no evaluator": (
        {"training": {"selection": {"evaluator": "other"}}},
        "`training.selection.evaluator` must name one of `evaluation.evaluators`",
    ),
    "a selection on the gate's data": (
        {"training": {"selection": {"evaluator": "test"}}},
        "`training.selection` must judge on data that no gate reads",
    ),
    "a model from two places": (
        {"model.encoders": ENCODERS},
        "`model` must have either `uri` or `encoders`",
    ),
    "a model from nowhere": ({"model.uri": ABSENT}, "`model` must have either `uri` or `encoders`"),
    "one pooling for several encoders": (
        {**ROUTED, "model.pooling": "Mean"},
        (
            "`secretRef`, `maxSeqLength`, `processor`, `pooling`, `dense`, `head`, `lora`, `freeze`,"
            " `allowMissingWeights` of `model` must be left out beside `encoders`: those that an encoder can"
            " have stand there"
        ),
    ),
    "a reranker of separate encoders": (
        {**ROUTED, "model.type": "Reranker"},
        "`encoders` must be left out unless `type` is Embedding or Sparse",
    ),
    "a dense layer in a sparse encoder": (
        {**ROUTED, "model.type": "Sparse", "model.encoders.0.dense": 64},
        "`dense` of an encoder must be left out unless `type` is Embedding",
    ),
    "an encoder for nothing": (
        {**ROUTED, "model.encoders.0.task": ABSENT},
        "an encoder must have `task`, `modality` or both",
    ),
    "a default route to nowhere": (
        {**ROUTED, "model.defaultRoute": "other"},
        "`defaultRoute` must name one of `encoders`",
    ),
    "a default route of one checkpoint": (
        {"model.defaultRoute": "document"},
        "`defaultRoute` must name one of `encoders`",
    ),
    "encoders that take no document": (
        {**ROUTED, "model.encoders.1": {**ENCODERS[0], "route": "picture", "modality": "image"}},
        (
            "`encoders` must take queries and documents: `task` query and document, an encoder without"
            " `task`, or `defaultRoute`"
        ),
    ),
    "two encoders for the same inputs": (
        {**ROUTED, "model.encoders.2": {**ENCODERS[0], "route": "other"}},
        "each of `encoders` must have another `task` or another `modality` than the others",
    ),
    "a cosine of many vectors": (
        {"model.type": "MultiVector", "model.similarity": "cosine"},
        (
            "`similarity` must be maxsim for MultiVector, another one for Embedding and Sparse, and left out"
            " for a Reranker"
        ),
    ),
    "a short vector of a sparse model": (
        {"model.type": "Sparse", "model.truncateDim": 64},
        "`truncateDim` must be left out unless `type` is Embedding",
    ),
    "active dimensions of a dense model": (
        {"model.maxActiveDims": 64},
        "`maxActiveDims` must be left out unless `type` is Sparse",
    ),
    "a head on an embedding model": (
        {"model.head": {"type": "Dense"}},
        "`head` must be left out unless `type` is Reranker",
    ),
    "a wide reranker": (
        {"model.type": "Reranker", "model.dense": 64},
        "`dense` must be left out for a Reranker; its new layer is `head`",
    ),
    "many vectors pooled into one": (
        {"model.type": "MultiVector", "model.pooling": "Mean"},
        "`pooling` must be left out for MultiVector, and for a Reranker unless `head.type` is Dense",
    ),
    "a prompt for one half of a pair": (
        {"model.type": "Reranker", "model.prompts": {"document": "text: "}},
        "`prompts.document` must be left out for a Reranker: a pair has one prompt, `prompts.query`",
    ),
    "a logit of no token": (
        {"model.type": "Reranker", "model.head": {"type": "LogitScore"}},
        "`head.trueToken` must be given for LogitScore; other heads have neither it nor `falseToken`",
    ),
    "classes of a logit": (
        {"model.type": "Reranker", "model.head": {"type": "LogitScore", "trueToken": "1", "labels": 2}},
        "`head.labels` must be 1 unless `head.type` is Classifier",
    ),
    "an adapter over a volume": (
        {"model.uri": "pvc://models/base", "model.lora": {"publish": "Adapter"}},
        "`lora.publish` must be Merged unless `uri` is hf://: an adapter names its base by repository",
    ),
    "an adapter that drops everything": (
        {"model.lora": {"dropout": "1"}},
        "`lora.dropout` must be below 1",
    ),
    "an adapter and frozen weights": (
        {"model.lora": {}, "model.freeze": ["visual.*"]},
        "`freeze` must be left out beside `lora`, which trains none of the checkpoint's own weights",
    ),
    "a headline dimension that is not trained": (
        {"model.truncateDim": 96, "loss": {"matryoshkaDims": [128, 64]}},
        "`model.truncateDim` must be one of `loss.matryoshkaDims`",
    ),
    **POD_BROKEN_RULES,
}

OUT_OF_BOUNDS: dict[str, Changes] = {
    "no hard negative at all": {"data.hardNegatives": {"perQuery": 0}},
    "more hard negatives than a loss takes": {"data.hardNegatives": {"perQuery": 33}},
    "hard negatives of a corpus without a column": {
        "data.hardNegatives": {"corpus": {"uri": "pvc://data/corpus"}}
    },
    "a margin of a hundred per cent and more": {"data.hardNegatives": {"relativeMargin": "1.1"}},
    "a margin on the wrong side": {"data.hardNegatives": {"absoluteMargin": "-0.1"}},
    "no model": {"model": ABSENT},
    "no train set": {"data.train": []},
    "seventeen train sets": {f"data.train.{n}": {"name": f"set-{n}", **PAIRS} for n in range(1, 17)},
    "two train sets of one name": {"data.train.1": {"name": "train", **PAIRS}},
    "two eval sets of one name": {"data.eval.1.name": "dev"},
    "two evaluators of one name": {"evaluation.evaluators.1.name": "dev"},
    "nine eval sets": {f"data.eval.{n}": {"name": f"set-{n}", **PAIRS} for n in range(2, 9)},
    "an eval set of nothing": {"data.eval.0": {"name": "dev"}},
    "a judged set without a corpus": {"data.eval.1.corpus": ABSENT},
    "a judged set with a split of its own": {"data.eval.1.split": "test"},
    "a field that does not exist": {"training": {"epoch": "1"}},
    "a column role that does not exist": {"data.train.0.columns.score": "score"},
    "no columns to train on": {"data.train.0.columns": {}},
    "a label of nothing": {"data.train.0.columns": {"label": "score"}},
    "a query without an answer": {"data.train.0.columns": {"query": "q"}},
    "negatives of nothing": {"data.train.0.columns": {"inputs": ["a"], "negatives": ["b"]}},
    "negatives alone": {"data.train.0.columns": {"negatives": ["b"]}},
    "no row at all": {"data.train.0.maxRows": 0},
    "two mixes of one name": {"data.train.0.combine": [{"name": "m", "text": "a", "image": "b"}] * 2},
    "a mix beside judgements": {"data.eval.1.combine": [{"name": "m", "text": "a", "image": "b"}]},
    "a column without a name": {"data.train.0.columns.query": ""},
    "a loss that is not there": {"loss": {"name": "FlopsLoss"}},
    "a loss that needs a wrapper": {"model.type": "Sparse", "loss": {"name": "SparseCoSENTLoss"}},
    "a wrapper in a wrapper": {"loss": {"name": "AdaptiveLayerLoss", "inner": {"name": "MatryoshkaLoss"}}},
    "an inner loss of another type of model": {
        "loss": {"name": "AdaptiveLayerLoss", "inner": {"name": "SparseCoSENTLoss"}}
    },
    "a train set's loss of another type of model": {"data.train.0.loss": {"name": "LambdaLoss"}},
    "a guide for a loss that takes none": {"loss": {"guide": {"uri": "pvc://models/guide"}}},
    "a type of model that is not there": {"model.type": "Classifier"},
    "a router of one encoder": {**ROUTED, "model.encoders.1": ABSENT},
    "two encoders of one route": {**ROUTED, "model.encoders.1.route": "query"},
    "an attention that nobody wrote": {"model.attention": "owner/kernel"},
    "a module name with a bracket": {"model.lora": {"targetModules": ["q_proj)"]}},
    "an adapter of no rank": {"model.lora": {"rank": 0}},
    "a metric that is not there": {"evaluation.primary.metric": "f1@10"},
    "a metric at zero": {"evaluation.primary.metric": "ndcg@0"},
    "a metric at a thousand": {"evaluation.primary.metric": "ndcg@1000"},
    "an evaluator that is not there": {"evaluation.evaluators.0.type": "LabelAccuracy"},
    "a negative drop": {"evaluation.gates.0": {"evaluator": "test", "maximumDrop": "-0.1"}},
    "a group without a name": {"evaluation.gates.0.group": ""},
    "a number where a decimal belongs": {"training": {"epochs": 1}},
    "a word for a number": {"training": {"epochs": "one"}},
    "an infinite rate": {"training": {"learningRate": "Inf"}},
    "a rate that is not a number": {"training": {"learningRate": "NaN"}},
    "a decimal with a comma": {"training": {"learningRate": "0,5"}},
    "a decimal with a plus": {"training": {"learningRate": "+0.5"}},
    "a decimal too large for any": {"training": {"epochs": "1e400"}},
    "a decimal of foreign digits": {"training": {"epochs": "\u0661"}},
    "a decimal of 65 characters": {"training": {"epochs": "1" * 65}},
    "a decimal with a line break": {"training": {"epochs": "1\n"}},
    "an integer in quotes": {"training": {"batchSize": "64"}},
    "true for an integer": {"training": {"batchSize": True}},
    "a batch of one": {"training": {"batchSize": 1}},
    "a seed beyond 31 bits": {"training": {"seed": 2**31}},
    "a negative seed": {"training": {"seed": -1}},
    "two GPUs": {"runtime": {"gpusPerNode": 2}},
    "a grace of two hours": {"runtime": {"terminationGracePeriodSeconds": 7200}},
    "no checkpoint to keep": {"runtime": {"checkpoints": {"claim": "scratch", "keep": 0}}},
    "a checkpoint every moment": {"runtime": {"checkpoints": {"claim": "scratch", "everySeconds": 9}}},
    "a limit of seconds": {"limits": {"activeSeconds": 59}},
    "a Job that goes before it came": {"limits": {"keepJobSeconds": -1}},
    "stuck at once": {"limits": {"stuckSeconds": 1}},
    "a reason to run again that is none": {"rerun": "x" * 65},
    "a queue whose name no label can hold": {"runtime": {"queueName": "q" * 64}},
    "a queue of another namespace": {"runtime": {"queueName": "other/queue"}},
    "a cache with a path": {"runtime": {"cache": {"claim": "a/b"}}},
    "a cache of nothing": {"runtime": {"cache": {}}},
    "a model from a ConfigMap": {"model.uri": "configmap://name/key"},
    "a target in a ConfigMap": {"output.uri": "configmap://name/key"},
    "an image that begins with a dash": {"runtime": {"image": "-image"}},
    "an image with a blank": {"runtime": {"image": "image latest"}},
    "a quantity that is none": {"runtime": {"resources": {"limits": {"memory": "much"}}}},
    "a resource of no name": {"runtime": {"resources": {"requests": {"": 1}}}},
    "a resource that is a command": {"runtime": {"resources": {"limits": {"$(id)": 1}}}},
    "a negative quantity": {"runtime": {"resources": {"limits": {"cpu": -1}}}},
    "a negative quantity as text": {"runtime": {"resources": {"limits": {"cpu": "-1"}}}},
    "a quantity beyond all machines": {"runtime": {"resources": {"limits": {"memory": 2**53 + 1}}}},
    "a fraction for a quantity": {"runtime": {"resources": {"limits": {"cpu": 1.5}}}},
    "a secret elsewhere": {"model.secretRef": {"name": "token", "namespace": "other"}},
    "a secret with a path": {"model.secretRef": {"name": "../token"}},
    "a name with a capital letter": {"data.train.0.name": "Train"},
    "a name with a line break": {"data.train.0.name": "train\n"},
    "a name of 41 characters": {"data.train.0.name": "a" * 41},
    "a prompt of a megabyte": {"model.prompts": {"query": "a" * 2**20}},
    "a list for arguments": {"loss": {"args": []}},
    "65 arguments": {"loss": {"args": {f"a{n}": 1 for n in range(65)}}},
    "no dimension": {"loss": {"matryoshkaDims": []}},
    "a dimension twice": {"loss": {"matryoshkaDims": [64, 64]}},
    "seventeen gates": {f"evaluation.gates.{n}": {"evaluator": "test", "minimum": "0"} for n in range(1, 17)},
    "an empty selection": {"training": {"selection": {}}},
    "null for a required part": {"model.uri": None},
    **POD_OUT_OF_BOUNDS,
}

ACCEPTED: dict[str, Changes] = {
    "encoders by query and document": ROUTED,
    "encoders by modality": {
        **ROUTED,
        "model.encoders.0": {"route": "text", "modality": "text", "uri": "pvc://models/a", "dense": 64},
        "model.encoders.1": {"route": "image", "modality": "image", "uri": "pvc://models/b"},
    },
    "one encoder and a default route": {
        **ROUTED,
        "model.encoders.1": {"route": "rest", "modality": "image", "uri": "pvc://models/b"},
        "model.defaultRoute": "query",
    },
    "an adapter over a repository": {"model.lora": {"publish": "Adapter", "targetModules": ["q_proj"]}},
    "a reranker by two tokens": {
        "model.type": "Reranker",
        "model.head": {"type": "LogitScore", "trueToken": "1", "falseToken": "0"},
    },
    "a reranker by a pooled vector": {
        "model.type": "Reranker",
        "model.head": {"type": "Dense"},
        "model.pooling": "LastToken",
    },
    "many vectors of 96 dimensions": {"model.type": "MultiVector", "model.dense": 96},
    "a sparse model with a limit": {"model.type": "Sparse", "model.maxActiveDims": 64},
    "hard negatives as they come": {"data.hardNegatives": {}},
    "hard negatives with everything": {
        "data.hardNegatives": {
            "perQuery": 2,
            "skipTop": 1,
            "searchDepth": 50,
            "relativeMargin": "0.05",
            "absoluteMargin": "0",
            "minScore": "-1",
            "maxScore": "0.9",
            "sampling": "Random",
            "corpus": {"uri": f"hf://owner/corpus@{COMMIT}", "split": "train", "input": "text"},
            "retriever": {"uri": "pvc://models/retriever"},
            "crossEncoder": {"uri": "s3://models/reranker", "secretRef": {"name": "token"}},
        },
    },
    "nothing but what is required": {"output": ABSENT, "evaluation.gates": ABSENT},
    "a whole number as a decimal": {"training": {"epochs": "3"}},
    "a rate with an exponent": {"training": {"learningRate": "2e-5"}},
    "no warm-up, negative zero": {"training": {"warmupRatio": "-0"}},
    "a selection on data of its own": {"training": {"selection": {"evaluator": "dev", "patience": 3}}},
    "a gate at the lowest gain": {"evaluation.gates.0.minimumGain": "-1"},
    "no comparison and a gate on the value": {
        "evaluation.compareTo": "None",
        "evaluation.gates.0.minimumGain": ABSENT,
    },
    "a subset of a hub's dataset": {
        "data.train.0.uri": f"hf://owner/data@{COMMIT}",
        "data.train.0.subset": "en",
    },
    "sixteen train sets": {f"data.train.{n}": {"name": f"set-{n}", **PAIRS} for n in range(1, 16)},
    "a train set with a loss of its own": {"data.train.0.loss": {"matryoshkaDims": [64]}},
    "inputs in order with a label": {"data.train.0.columns": {"inputs": ["a", "b"], "label": "score"}},
    "roles with a label": {"data.train.0.columns.label": "scores"},
    "empty lists of columns": {"data.train.0.columns.inputs": [], "data.train.0.columns.negatives": []},
    "a mix of columns": {
        "data.train.0.combine": [{"name": "page", "text": "title", "image": "scan"}],
        "data.train.0.maxRows": 1000,
    },
    "groups of queries": {"data.eval.1.groupBy": "language", "data.eval.1.maxRows": 100},
    "a set that brings its own columns": {
        "data.eval.0.columns": ABSENT,
        "evaluation.evaluators.0.type": "NanoBEIR",
    },
    "a headline dimension that is trained": {
        "model.truncateDim": 64,
        "loss": {"matryoshkaDims": [128, 64]},
    },
    "a headline dimension without trained ones": {"model.truncateDim": 96},
    "arguments of every kind": {
        "training": {"args": {"max_steps": 5, "adam_beta1": 0.9, "fp16": False, "x": {"y": [1, "z"]}}},
    },
    "quantities as number and text": {
        "runtime": {"resources": {"requests": {"cpu": 2, "memory": "1.5Gi"}, "limits": {"cpu": "500m"}}},
    },
    "a prompt with every quote, in any script": {
        "model.prompts": {"query": "'\"`$(x); \\x3b\n\u202e\u0645\u0631 \u68c0\u7d22: ", "document": ""},
    },
    "a column named as nobody should": {"data.train.0.columns.query": "$(rm -rf /)"},
    "a loss of a train set": {"data.train.0.loss": {"name": "CoSENTLoss", "args": {"scale": 10}}},
    "dimensions around the loss that suits the data": {
        "loss": {"name": "MatryoshkaLoss", "matryoshkaDims": [64], "args": {"n_dims_per_step": 1}}
    },
    "a guided loss inside a wrapper": {
        "loss": {
            "name": "MatryoshkaLoss",
            "matryoshkaDims": [64],
            "inner": {"name": "CachedGISTEmbedLoss"},
            "guide": {"uri": "pvc://models/guide"},
        }
    },
    "a sparse model": {
        "model.type": "Sparse",
        "loss": {"name": "SpladeLoss", "inner": {"name": "SparseCoSENTLoss"}},
    },
    "a CPU alone": {"runtime": {"gpusPerNode": 0}},
    "checkpoints in a bucket": {
        "runtime": {"checkpoints": {"uri": "s3://scratch/runs", "secretRef": {"name": "s3"}}}
    },
    "suspended, to be run again": {"suspend": True, "rerun": "2026-11-26 10:00"},
    "a queue": {"runtime": {"queueName": "q" * 63}},
    "a cache": {"runtime": {"cache": {"claim": "hub.cache"}}},
    "a bucket to publish to": {"output.uri": "s3://models/vdr/"},
    "a bucket of another cloud to publish to": {"output.uri": "gs://models_1"},
    "a repository to publish to": {"output.uri": "hf://owner/model"},
    "a registry to publish to": {"output.uri": "oci://localhost:5000/team/model"},
    "a model from a bucket": {"model.uri": "gs://models/vdr/3-0123456789ab"},
    "a model from a registry": {"model.uri": f"oci://registry.example/team/model@{DIGEST}"},
    **POD_ACCEPTED,
}

GOOD_URIS = (
    f"hf://owner/name@{COMMIT}",
    f"hf://Owner-1/name_2.5@{COMMIT}",
    "pvc://claim",
    "pvc://claim/",
    "pvc://claim/folder/file.parquet",
    "pvc://my.claim-1/a_b/c=1/d+e@f/..g",
    "pvc://claim/...",
    "https://host/file.csv",
    "https://host.example:8443/a/b?c=d&e=%20#f",
    "s3://bucket/folder/",
    "s3://my.bucket-1/a_b/c=1/d+e@f/..g",
    "gs://my_bucket",
    f"oci://host/name@{DIGEST}",
    f"oci://host.example:5000/a/b-c/d.e__f@{DIGEST}",
    "configmap://name.1/rows.jsonl",
    "https://169.254.169.254/latest",  # refused where it is fetched: names resolve to such addresses too
)
HOSTILE_URIS = (
    "",
    "a" * 600,
    "name",
    "/etc/passwd",
    "file:///etc/passwd",
    "ftp://host/file",
    "HF://owner/name@" + COMMIT,
    "hf://owner/name@main",
    "hf://owner/name@" + COMMIT.upper(),
    "hf://owner/name@" + COMMIT[:-1],
    "hf://owner/name@" + COMMIT + "0",
    "hf://owner/name@" + COMMIT + "\n",
    "hf://owner/name/file@" + COMMIT,
    "hf://../name@" + COMMIT,
    "hf://owner/..@" + COMMIT,
    "hf://-owner/name@" + COMMIT,
    "hf://owner@" + COMMIT,
    "hf://user:word@owner/name@" + COMMIT,
    "pvc://",
    "pvc:///path",
    "pvc://Claim/path",
    "pvc://-claim/path",
    "pvc://claim//path",
    "pvc://claim/..",
    "pvc://claim/../other",
    "pvc://claim/a/../../b",
    "pvc://claim/./a",
    "pvc://claim/a/.",
    "pvc://claim/%2e%2e/other",
    "pvc://claim/%252e%252e/other",
    "pvc://claim/a\\..\\b",
    "pvc://claim/a b",
    "pvc://claim/a\n",
    "pvc://claim/a\x00b",
    "pvc://claim/$(id)",
    "pvc://claim/`id`",
    "pvc://claim/a;b",
    "pvc://claim/'a'",
    "pvc://claim/\u202ea",
    "pvc://claim/\u0661",
    "pvc://namespace:claim/a",
    "s3://",
    "s3:///key",
    "s3://a/key",
    "s3://Bucket/key",
    "s3://bucket//key",
    "s3://bucket/../other/key",
    "s3://bucket/a/..",
    "s3://bucket/./a",
    "s3://bucket/%2e%2e/other",
    "s3://bucket/a b",
    "s3://bucket/a\\b",
    "s3://bucket/a\n",
    "s3://bucket/a?versionId=1",
    "s3://user:word@bucket/key",
    "s3://bucket:9000/key",
    "s3a://bucket/key",
    "gs://bucket/../other",
    "gs://user@bucket/key",
    f"oci://name@{DIGEST}",
    f"oci://host/@{DIGEST}",
    f"oci://host/Name@{DIGEST}",
    f"oci://host/../name@{DIGEST}",
    f"oci://host/a..b@{DIGEST}",
    f"oci://host//name@{DIGEST}",
    f"oci://host/name@{DIGEST.upper()}",
    f"oci://host/name@{DIGEST}0",
    f"oci://host/name:tag@{DIGEST}",
    f"oci://host:port/name@{DIGEST}",
    f"oci://user:word@host/name@{DIGEST}",
    f"oci://[::1]/name@{DIGEST}",
    "oci://host/name:latest",
    "configmap://",
    "configmap://name",
    "configmap://name/",
    "configmap://name/..",
    "configmap://name/../token",
    "configmap://name/.hidden",
    "configmap://name/a/b",
    "configmap://Name/key",
    "configmap://name/%2e%2e",
    "configmap://namespace:name/key",
    "https://",
    "https://host",
    "https://host/",
    "https://user@host/file",
    "https://user:word@host/file",
    "https://host/a b",
    "https://host/a\n",
    "https://host:port/a",
    "https://[::1]/a",
    "https://ho st/a",
    "https://host\\@other/a",
    "http://host/file",
)
