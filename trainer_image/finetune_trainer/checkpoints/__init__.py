"""What an interrupted training left, so that another attempt goes on from there bit by bit.

    <place>/<namespace>/<name>/<uid>/<run>/step-<n>/    whole when it has COMPLETE, which is written last

`keeping` has what holds everywhere: which one is used, how many are kept, what a failure does. `store` says
in what places differ: `folders` for a volume or this machine, `buckets` for s3:// and gs://. `manifest` seals
a checkpoint and tells a damaged one, `tensors` and `trees` write state as safetensors and JSON: nothing that
is read back can run code, whoever wrote it.

Nothing here knows what a training consists of; that is `training.resuming`.
"""

from finetune_trainer.checkpoints.keeping import Checkpoints
from finetune_trainer.checkpoints.manifest import Checkpoint, Damaged, Origin
from finetune_trainer.checkpoints.opening import open_checkpoints

__all__ = ["Checkpoint", "Checkpoints", "Damaged", "Origin", "open_checkpoints"]
