"""Names in the forms that Kubernetes gives them: of objects, labels, keys and files in a volume."""

import re
from typing import Annotated

from pydantic import Field, StringConstraints

from finetune_api.fields import Rule, ruled

_DNS = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_LABEL = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
LABEL_KEY_PATTERN = rf"^({_DNS}/)?{_LABEL}$"
MAX_LABEL_KEY = 253
"""Kubernetes takes so much for the domain alone; no real key is near it."""
_FILE = r"[-A-Za-z0-9_][-A-Za-z0-9_.]*"
"""Never begins with a dot, so that no `..` leads out of a volume."""

DnsName = Annotated[str, StringConstraints(pattern=f"^{_DNS}$", max_length=253)]
LabelKey = Annotated[str, StringConstraints(pattern=LABEL_KEY_PATTERN, max_length=MAX_LABEL_KEY)]
LabelValue = Annotated[str, StringConstraints(pattern=f"^({_LABEL})?$", max_length=63)]
DataKey = Annotated[str, StringConstraints(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)]
"""Key of a ConfigMap or Secret."""
RelativePath = Annotated[str, StringConstraints(pattern=f"^{_FILE}(/{_FILE})*$", max_length=256)]
MountPath = Annotated[str, StringConstraints(pattern=f"^/mnt(/{_FILE})+$", max_length=256)]
"""Below /mnt, where nothing of ours and no program lies: a volume can hide neither."""


def is_label_key(text: str) -> bool:
    return len(text) <= MAX_LABEL_KEY and re.fullmatch(LABEL_KEY_PATTERN, text) is not None


# A schema cannot bound the keys of a map, a rule can.
KEYS_ARE_LABEL_KEYS = Rule(
    f"self.all(k, k.size() <= {MAX_LABEL_KEY} && k.matches(r'{LABEL_KEY_PATTERN}'))",
    "every key must read `name` or `domain/name`, as the keys of labels do",
    lambda keys: all(map(is_label_key, keys)),
)
LabelMap = Annotated[dict[str, LabelValue], Field(max_length=16), *ruled(KEYS_ARE_LABEL_KEYS)]
