"""Second stage: sources become rows to train on and sets to measure on, or an error that says what is wrong.

Nothing here knows the model; `check_inputs` is called once it is loaded.
"""

from finetune_trainer.inputs import Cells, Collection, EvaluationData, Input, TrainingData

__all__ = ["Cells", "Collection", "EvaluationData", "Input", "TrainingData"]
