"""The API server, asked for its opinion on finetunes."""

from collections.abc import Callable
from typing import Any

import pytest

from finetune_api import API_VERSION, PLURAL
from finetune_api.names import GROUP
from tests.api.specs import ROOT
from tests.cluster import Cluster
from tests.cluster.client import ApiError
from tests.cluster.definitions import await_served
from tests.cluster.waiting import eventually

Finetune = dict[str, Any]
FINETUNES = f"/apis/{API_VERSION}/namespaces/default/{PLURAL}"
REFUSED = {400, 422}
TOO_EARLY = 429


@pytest.fixture(scope="session")
def served(cluster: Cluster) -> Cluster:
    """The cluster, with the CRD established."""
    file = str(ROOT / "crds/embeddingfinetunes.yaml")
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", file)
    await_served(cluster, f"{PLURAL}.{GROUP}")
    eventually(lambda: _is_served(cluster), "the list of finetunes")
    return cluster


def _is_served(cluster: Cluster) -> bool:
    """An established CRD is served a moment later: 404 first, then 429 while its storage is made."""
    try:
        return cluster.client.get(FINETUNES) is not None
    except ApiError as error:
        if error.status != TOO_EARLY:
            raise
        return False


@pytest.fixture(scope="session")
def answer(served: Cluster) -> Callable[[Finetune], Finetune | str]:
    """What the API server makes of a finetune, stored nowhere: the object with its defaults, or why not."""
    client = served.client
    strict = {"dryRun": "All", "fieldValidation": "Strict"}  # as kubectl asks

    def ask(finetune: Finetune) -> Finetune | str:
        try:
            return client.request("POST", FINETUNES, finetune, query=strict)
        except ApiError as error:
            if error.status not in REFUSED:
                raise
            return str(error)

    return ask
