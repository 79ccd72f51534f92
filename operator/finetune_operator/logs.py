"""Logs as one JSON object a line, on stderr: those of the operator, of kopf and of the HTTP servers alike."""

import logging
import sys

from pythonjsonlogger.json import JsonFormatter

FIELDS = "%(asctime)s %(levelname)s %(name)s %(message)s"
NAMES = {"asctime": "time", "levelname": "level", "name": "logger"}
# What these say at INFO is said better by the operator's own lines and metrics.
CHATTY = ("aiohttp.access", "kopf.objects", "urllib3")


def configure_logging(level: str) -> None:
    """Send everything of that level and above to stderr; unfinished business of libraries only at DEBUG."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(FIELDS, rename_fields=NAMES))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in CHATTY:
        logging.getLogger(name).setLevel(level if level == "DEBUG" else "WARNING")
