"""URIs, parsed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_api.uris import (
    ConfigMapUri,
    HfTarget,
    HfUri,
    HttpsUri,
    OciTarget,
    OciUri,
    PvcUri,
    StoreUri,
    parse_target,
    parse_uri,
)
from tests.api.cases import GOOD_URIS, HOSTILE_URIS
from tests.api.specs import COMMIT, DIGEST


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        (f"hf://owner/name@{COMMIT}", HfUri("owner/name", COMMIT)),
        ("pvc://claim", PvcUri("claim", "")),
        ("pvc://claim/", PvcUri("claim", "")),
        ("pvc://claim/a/b.csv", PvcUri("claim", "a/b.csv")),
        ("s3://bucket", StoreUri("s3", "bucket", "")),
        ("s3://bucket/a/b/", StoreUri("s3", "bucket", "a/b")),
        ("gs://bucket/a.csv", StoreUri("gs", "bucket", "a.csv")),
        (f"oci://host:5000/a/b@{DIGEST}", OciUri("host:5000", "a/b", DIGEST)),
        ("https://host/a?b=c", HttpsUri("https://host/a?b=c")),
        ("configmap://rows/a.csv", ConfigMapUri("rows", "a.csv")),
    ],
)
def test_a_uri_is_taken_apart(text: str, uri: object) -> None:
    assert parse_uri(text) == uri


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("pvc://claim/a/", PvcUri("claim", "a")),
        ("s3://bucket/a", StoreUri("s3", "bucket", "a")),
        ("gs://bucket/", StoreUri("gs", "bucket", "")),
        ("hf://owner/name", HfTarget("owner/name")),
        ("oci://host:5000/a/b", OciTarget("host:5000", "a/b")),
    ],
)
def test_a_target_is_taken_apart(text: str, uri: object) -> None:
    assert parse_target(text) == uri


@pytest.mark.parametrize("text", [f"hf://owner/name@{COMMIT}", f"oci://host/a@{DIGEST}", "https://host/a"])
def test_what_is_pinned_or_only_read_is_no_target(text: str) -> None:
    with pytest.raises(ValueError, match="is none of pvc://claim/path"):
        parse_target(text)


@pytest.mark.parametrize("text", GOOD_URIS)
def test_what_the_models_accept_can_be_parsed(text: str) -> None:
    parse_uri(text)


@pytest.mark.parametrize("text", HOSTILE_URIS)
def test_what_the_models_refuse_cannot_be_parsed(text: str) -> None:
    with pytest.raises(ValueError, match="is none of hf://owner/name@<40-digit commit>"):
        parse_uri(text)
    with pytest.raises(ValueError, match="is none of pvc://claim/path"):
        parse_target(text)


@given(st.sampled_from(["pvc", "s3", "gs"]), st.text(alphabet="ab./%\\@:\n ", max_size=20))
def test_no_path_ever_leaves_its_claim_or_bucket(scheme: str, text: str) -> None:
    try:
        uri = parse_uri(f"{scheme}://place/{text}")
    except ValueError:
        return
    assert isinstance(uri, PvcUri | StoreUri)
    path = uri.path if isinstance(uri, PvcUri) else uri.key
    assert not {"..", ".", ""} & set(path.split("/")[:-1])
    assert path.rsplit("/", 1)[-1] not in {"..", "."}
    assert not path.startswith("/")
