"""Names that appear in a cluster. The group stands here and nowhere else."""

GROUP = "embeddings.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "EmbeddingFinetune"
PLURAL = "embeddingfinetunes"
SINGULAR = "embeddingfinetune"
SHORT_NAME = "eft"
CATEGORY = "ml"

MAX_NAME_LENGTH = 45
"""A run's children are called `<name>-<run>`; Job names end at 63 characters, pod names need the rest."""

LABEL_FINETUNE = f"{GROUP}/finetune"
"""Name of the finetune an object belongs to; on every object the operator makes."""
LABEL_RUN = f"{GROUP}/run"
"""Number of the run an object belongs to."""
LABEL_MANAGED = "app.kubernetes.io/managed-by"
MANAGED_BY = "embedding-finetune-operator"
"""Value of the managed-by label, and the field manager of everything the operator writes."""
ANNOTATION_SPEC_HASH = f"{GROUP}/spec-hash"
"""The specHash a Job was made for."""
