"""URIs, parsed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_api.uris import HfUri, HttpsUri, PvcUri, parse_uri
from tests.api.cases import GOOD_URIS, HOSTILE_URIS
from tests.api.specs import COMMIT


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        (f"hf://owner/name@{COMMIT}", HfUri("owner/name", COMMIT)),
        ("pvc://claim", PvcUri("claim", "")),
        ("pvc://claim/", PvcUri("claim", "")),
        ("pvc://claim/a/b.csv", PvcUri("claim", "a/b.csv")),
        ("https://host/a?b=c", HttpsUri("https://host/a?b=c")),
    ],
)
def test_a_uri_is_taken_apart(text: str, uri: object) -> None:
    assert parse_uri(text) == uri


@pytest.mark.parametrize("text", GOOD_URIS)
def test_what_the_models_accept_can_be_parsed(text: str) -> None:
    parse_uri(text)


@pytest.mark.parametrize("text", HOSTILE_URIS)
def test_what_the_models_refuse_cannot_be_parsed(text: str) -> None:
    with pytest.raises(ValueError, match="is none of hf://owner/name@<40-digit commit>"):
        parse_uri(text)


@given(st.text(alphabet="ab./%\\@:\n ", max_size=20))
def test_no_path_of_a_claim_ever_leaves_it(path: str) -> None:
    try:
        uri = parse_uri(f"pvc://claim/{path}")
    except ValueError:
        return
    assert isinstance(uri, PvcUri)
    assert not {"..", ".", ""} & set(uri.path.split("/")[:-1])
    assert uri.path.rsplit("/", 1)[-1] not in {"..", "."}
    assert not uri.path.startswith("/")
