"""The contract: what a user writes, what the operator answers, and what a run leaves behind.

Operator and trainer both stand on this package and on nothing of each other. It needs pydantic alone.
"""

from finetune_api.names import API_VERSION, GROUP, KIND, PLURAL, VERSION
from finetune_api.report import Report
from finetune_api.run_file import RunFile
from finetune_api.spec import FinetuneSpec
from finetune_api.status import FinetuneStatus

__all__ = [
    "API_VERSION",
    "GROUP",
    "KIND",
    "PLURAL",
    "VERSION",
    "FinetuneSpec",
    "FinetuneStatus",
    "Report",
    "RunFile",
]
