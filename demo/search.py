"""What base and tuned model find, asked as any user of a model would: with plain Sentence Transformers.

The numbers come from the finetune's status; this only gives the examples a face.
"""

from pathlib import Path

from sentence_transformers import SentenceTransformer
from transformers.utils import logging

from demo.tasks import Collection

_BATCH = 64


def rank_documents(model_folder: Path, collection: Collection, max_seq_length: int | None) -> list[list[int]]:
    """Positions of the documents, best first, for each query."""
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    model = SentenceTransformer(str(model_folder), device="cpu", local_files_only=True)
    if max_seq_length is not None:
        model.max_seq_length = max_seq_length
    queries = model.encode_query(list(collection.queries), batch_size=_BATCH, show_progress_bar=False)
    documents = model.encode_document(list(collection.documents), batch_size=_BATCH, show_progress_bar=False)
    order = model.similarity(queries, documents).argsort(dim=1, descending=True, stable=True)
    ranked: list[list[int]] = order.tolist()
    return ranked
