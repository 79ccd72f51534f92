"""What a request asks of the API server: verb, kind, namespace and name, from its method and path."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
WRITES = frozenset(_VERBS.values())


@dataclass(frozen=True)
class Call:
    """One request, as the audit log of the API server would name it."""

    verb: str
    """get, list, watch, create, update, patch or delete."""
    kind: str
    """Plural, with its subresource: `jobs`, `embeddingfinetunes/status`. Empty for discovery."""
    namespace: str = ""
    name: str = ""
    at: float = 0.0
    """On the monotonic clock."""

    @property
    def is_write(self) -> bool:
        """Whether it changes something that belongs to a finetune."""
        return self.verb in WRITES and self.kind not in {"leases", "tokenreviews", "secrets"}

    @property
    def is_upkeep(self) -> bool:
        """What an operator without any work still does."""
        return self.verb == "watch" or self.kind == "leases"


def call_of(method: str, path: str, query: Mapping[str, str], at: float = 0.0) -> Call:
    """The call that this request makes."""
    parts = [part for part in path.split("/") if part]
    rest = parts[2:] if parts[:1] == ["api"] else parts[3:]
    namespace = ""
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    name = rest[1] if len(rest) > 1 else ""
    kind = "/".join((*rest[:1], *rest[2:]))
    return Call(_verb(method, query, name, kind), kind, namespace, name, at)


def _verb(method: str, query: Mapping[str, str], name: str, kind: str) -> str:
    if method != "GET":
        return _VERBS[method]
    if query.get("watch") in {"1", "true"}:
        return "watch"
    return "get" if name or not kind else "list"


def count(calls: Iterable[Call]) -> Counter[tuple[str, str]]:
    """How many of each verb and kind."""
    return Counter((call.verb, call.kind) for call in calls)
