"""Asking the API server until it answers: an operator that begins has nothing else to do."""

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from finetune_operator.kube import ApiFailure, Conflict

T = TypeVar("T")
RETRY_SECONDS = 2.0

logger = logging.getLogger(__name__)


class AskedToStop(Exception):
    """Before there was an answer."""


def patiently(ask: Callable[[], T], stop: threading.Event) -> T:
    """The answer, however long it takes. Raises AskedToStop, and whatever waiting does not mend."""
    while True:
        try:
            return ask()
        except (ApiFailure, Conflict) as error:
            logger.warning("waiting for the API server", extra={"error": str(error)})
            if stop.wait(RETRY_SECONDS):
                raise AskedToStop from error
