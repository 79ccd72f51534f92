"""Broken specs, keyed by a sentence: for every rule one, with its message; and for every bound one.

Models and API server are held against the same tables.
"""

from typing import Any

from tests.api.specs import ABSENT, COMMIT, JUDGED, PAIRS

Changes = dict[str, Any]

BROKEN_RULES: dict[str, tuple[Changes, str]] = {
    "a model from a web server": (
        {"model.uri": "https://host/model"},
        "`uri` must begin with hf:// or pvc://",
    ),
    "data from an unknown place": (
        {"data.train.0.uri": "s4://bucket/data"},
        "`uri` must begin with hf:// or pvc:// or https://",
    ),
    "a target that is no volume": (
        {"output.uri": "https://host/models"},
        "`uri` must begin with pvc://",
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
        "a pvc:// `uri` must not contain . or .. as a folder",
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
        "an eval set must have either `uri` and `columns` (pairs), or `queries`, `corpus` and `qrels`",
    ),
    "dimensions from small to large": (
        {"loss": {"matryoshkaDims": [64, 128]}},
        "`matryoshkaDims` must go from the largest to the smallest, each once",
    ),
    "no epoch at all": ({"training": {"epochs": "0"}}, "must be greater than 0"),
    "more epochs than anybody waits for": ({"training": {"epochs": "10001"}}, "must be at most 10000"),
    "a negative warm-up": ({"training": {"warmupRatio": "-0.1"}}, "must not be negative"),
    "a learning rate of two": ({"training": {"learningRate": "2"}}, "must be at most 1"),
    "a gate that asks for nothing": (
        {"evaluation.gates.0": {"evaluator": "test"}},
        "a gate must have `minimum`, `minimumGain` or both",
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
        "`minimumGain` must be left out when `compareTo` is None: without a baseline there is no gain",
    ),
    "an evaluator without data": (
        {"evaluation.evaluators.0.data": "other"},
        "every evaluator's `data` must name one of `data.eval`",
    ),
    "a selection by no evaluator": (
        {"training": {"selection": {"evaluator": "other"}}},
        "`training.selection.evaluator` must name one of `evaluation.evaluators`",
    ),
    "a selection on the gate's data": (
        {"training": {"selection": {"evaluator": "test"}}},
        "`training.selection` must judge on data that no gate reads",
    ),
    "a headline dimension that is not trained": (
        {"model.truncateDim": 96, "loss": {"matryoshkaDims": [128, 64]}},
        "`model.truncateDim` must be one of `loss.matryoshkaDims`",
    ),
}

OUT_OF_BOUNDS: dict[str, Changes] = {
    "no model": {"model": ABSENT},
    "no train set": {"data.train": []},
    "two train sets": {"data.train.1": {"name": "more", **PAIRS}},
    "two eval sets of one name": {"data.eval.1.name": "dev"},
    "two evaluators of one name": {"evaluation.evaluators.1.name": "dev"},
    "nine eval sets": {f"data.eval.{n}": {"name": f"set-{n}", **PAIRS} for n in range(2, 9)},
    "an eval set of nothing": {"data.eval.0": {"name": "dev"}},
    "a judged set without a corpus": {"data.eval.1.corpus": ABSENT},
    "a judged set with a split of its own": {"data.eval.1.split": "test"},
    "a field that does not exist": {"training": {"epoch": "1"}},
    "a column role that does not exist": {"data.train.0.columns.label": "score"},
    "a column without a name": {"data.train.0.columns.query": ""},
    "a type of model that is not there": {"model.type": "Reranker"},
    "a loss that is not there": {"loss": {"name": "TripletLoss"}},
    "a metric that is not there": {"evaluation.primary.metric": "f1@10"},
    "a metric at zero": {"evaluation.primary.metric": "ndcg@0"},
    "a metric at a thousand": {"evaluation.primary.metric": "ndcg@1000"},
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
    "an image that begins with a dash": {"runtime": {"image": "-image"}},
    "an image with a blank": {"runtime": {"image": "image latest"}},
    "a quantity that is none": {"runtime": {"resources": {"limits": {"memory": "much"}}}},
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
}

ACCEPTED: dict[str, Changes] = {
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
    "a CPU alone": {"runtime": {"gpusPerNode": 0}},
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
    "hf://owner/name",
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
