"""Last stage: a model that passed becomes an immutable version below `output.uri`; `latest.json` names it.

    <output.uri>/<run>-<digest12>/    model, README.md, report.json, training.png; whole, or not a version
    <output.uri>/latest.json          {uri, digest, namespace, name, uid, run}; always of a whole version

`target`, `versions` and `publication` have what must hold wherever models go; `store` says in what places
differ, and every kind of place has a file: `folders` (pvc://), `objects` (s3://, gs://), `hub_commits`
(hf://), `artifacts` (oci://).
"""

from finetune_trainer.publishing.publication import Extras, find_published, publish
from finetune_trainer.publishing.store import LATEST, REPORT
from finetune_trainer.publishing.target import Target, open_target, target_of
from finetune_trainer.publishing.versions import Version, local_report, published_model, versions

__all__ = [
    "LATEST",
    "REPORT",
    "Extras",
    "Target",
    "Version",
    "find_published",
    "local_report",
    "open_target",
    "publish",
    "published_model",
    "target_of",
    "versions",
]
