"""The clients of object stores, with their credentials: from the folder of a Secret alone, or else from the
cloud's own chain (workload identity, the environment).
"""

import functools
import inspect
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune_trainer.errors import NoAccess
from finetune_trainer.places import read_key, read_optional_key
from finetune_trainer.sources.endpoints import check_endpoint, guarded_resolver

if TYPE_CHECKING:
    from fsspec.asyn import AsyncFileSystem

CONNECT_SECONDS = 15
READ_SECONDS = 60
"""Without a single byte; then the piece is asked for again."""
_GS_SCOPES = ["https://www.googleapis.com/auth/devstorage.read_write"]


def open_s3(secret: Path | None) -> "AsyncFileSystem":
    from s3fs import S3FileSystem

    system = S3FileSystem(
        **_s3_credentials(secret),
        use_listings_cache=False,
        skip_instance_cache=True,
        config_kwargs={
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": READ_SECONDS,
            "retries": {"total_max_attempts": 1},
            # Stores that are not AWS's own send the checksum of a whole object with a piece of it.
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
            "connector_args": {"resolver": guarded_resolver()},
        },
    )
    system.retries = 1
    return system


def _s3_credentials(secret: Path | None) -> dict[str, Any]:
    if secret is None:
        from botocore.session import get_session

        # Without any credentials a public bucket can still be read.
        return {"anon": get_session().get_credentials() is None}
    endpoint = read_optional_key(secret, "AWS_ENDPOINT_URL")
    if endpoint is not None:
        check_endpoint(endpoint, name=f"key `AWS_ENDPOINT_URL` of Secret {secret.name!r}")
    region = read_optional_key(secret, "AWS_REGION")
    return {
        "key": read_key(secret, "AWS_ACCESS_KEY_ID"),
        "secret": read_key(secret, "AWS_SECRET_ACCESS_KEY"),
        "token": read_optional_key(secret, "AWS_SESSION_TOKEN"),
        "endpoint_url": endpoint,
        "client_kwargs": {"region_name": region} if region else {},
    }


def open_gs(secret: Path | None) -> "AsyncFileSystem":
    from aiohttp import ClientTimeout
    from gcsfs.core import GCSFileSystem

    class Gcs(GCSFileSystem):  # type: ignore[misc]
        # Without the client's own retries: `retries` knows Retry-After, and both would multiply.
        _request = inspect.unwrap(GCSFileSystem._request)  # noqa: SLF001 - there is no option for it

    return Gcs(
        project="-",  # only for making and listing buckets
        token=_gs_credentials(secret),
        use_listings_cache=False,
        skip_instance_cache=True,
        requests_timeout=ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS),
    )


def _gs_credentials(secret: Path | None) -> Any:
    """google-auth's credentials, or "anon" where there are none: a public bucket can still be read."""
    from google.oauth2.service_account import Credentials

    if secret is None:
        # As Google's own clients do: an emulator asks for nobody's credentials.
        return "anon" if os.environ.get("STORAGE_EMULATOR_HOST") else _gs_credentials_of_machine()
    account = _service_account(secret)
    try:
        return Credentials.from_service_account_info(account, scopes=_GS_SCOPES)  # type: ignore[no-untyped-call]
    except ValueError as error:
        raise _not_an_account(secret) from error


@functools.cache
def _gs_credentials_of_machine() -> Any:
    """Looked for once: outside of Google's cloud it takes seconds to find that there are none."""
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError

    try:
        return google.auth.default(scopes=_GS_SCOPES)[0]
    except DefaultCredentialsError:
        return "anon"


def _service_account(secret: Path) -> dict[str, Any]:
    """The key file of a service account. Other kinds name commands, files and addresses to ask."""
    try:
        account = json.loads(read_key(secret, "credentials.json"))
    except ValueError as error:
        raise _not_an_account(secret) from error
    if not isinstance(account, dict) or account.get("type") != "service_account":
        raise _not_an_account(secret)
    check_endpoint(str(account.get("token_uri")), name=f"`token_uri` of Secret {secret.name!r}")
    return account


def _not_an_account(secret: Path) -> NoAccess:
    return NoAccess(
        "InvalidCredentials",
        f"key `credentials.json` of Secret {secret.name!r} must be the key file of a service account",
        "create a key of a service account, and the Secret from its file",
    )
