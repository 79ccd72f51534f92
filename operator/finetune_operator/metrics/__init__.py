"""Every metric: those of single finetunes, those of all together, and the operator's own.

family     what a metric is called and says
finetunes  the series of one finetune, from its status and its pods' reports
exposition their text, kept until a finetune changes
runs       counters of what runs came to and took, from each status that is written
own        the operator's work, and the registry that has all but the series of single finetunes
"""

from finetune_operator.metrics.own import OperatorMetrics

__all__ = ["OperatorMetrics"]
