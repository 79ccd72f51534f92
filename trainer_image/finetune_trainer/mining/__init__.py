"""Hard negatives: documents that look like an answer and are none."""
