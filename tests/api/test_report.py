"""The Report: it always fits, and what matters most is left out last."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from finetune_api.exit_codes import USER_ERRORS, ExitCode
from finetune_api.report import MAX_REPORT_BYTES, Report

DIGEST = "sha256:" + "a" * 64
LONGEST_URI = "pvc://" + "c" * 250
LONGEST_NAME = f"{'e' * 40}_euclidean_precision@999"
GROUP = "\U0001f600" * 64
VALUE = "-0.123456789012"


def the_largest_that_can_be() -> dict[str, Any]:
    """Every text as long as the spec lets it become."""
    interval = {"baseline": VALUE, "tuned": VALUE, "gainLow": VALUE, "gainHigh": VALUE}
    gate = {
        "evaluator": "e" * 40,
        "metric": "precision@999",
        "passed": True,
        "message": "m" * 160,
        "group": GROUP,
    }
    primary = {
        "name": LONGEST_NAME, "dimension": 65_536, "queries": 10**7, "clusters": 10**7,
        "comparedTo": "Published", "base": VALUE,
        "gain": VALUE, "wins": 10**7, "ties": 10**7, "losses": 10**7, **interval,
    }  # fmt: skip
    return {
        "uid": "0" * 36,
        "run": 10**6,
        "outcome": "Succeeded",
        "measured": {
            "primary": primary,
            "metrics": [{"name": f"{LONGEST_NAME}_dim65536[{GROUP}]", **interval}] * 64,
            "gates": [gate] * 15 + [{**gate, "passed": False}],
        },
        "artifact": {
            "uri": f"{LONGEST_URI}/1000000-{'a' * 12}",
            "report": f"{LONGEST_URI}/1000000-{'a' * 12}/full-report.json",
            "digest": DIGEST,
            "run": 10**6,
        },
        "lineage": {
            "model": DIGEST, "trainData": DIGEST, "evalData": DIGEST, "image": "i" * 256, "seed": 2**31,
            "miniBatchSize": 65_536, "versions": {f"library-{n}": "1.2.3" for n in range(16)},
        },
    }  # fmt: skip


def the_longest_failure() -> dict[str, Any]:
    return {"reason": "R" * 63, "message": "\u202e\x00" * 512, "hint": '"' * 512, "retryable": False}


def sent(report: dict[str, Any]) -> Report:
    text = Report.model_validate(report).to_json()
    assert len(text.encode()) <= MAX_REPORT_BYTES
    return Report.model_validate_json(text)


def test_a_small_report_is_sent_whole() -> None:
    report = {
        "uid": "0",
        "run": 1,
        "outcome": "Failed",
        "failure": {**the_longest_failure(), "message": "m", "hint": "h"},
    }
    assert sent(report) == Report.model_validate(report)


def test_the_largest_success_keeps_headline_artifact_and_what_failed_first() -> None:
    whole = Report.model_validate(the_largest_that_can_be())
    report = sent(the_largest_that_can_be())
    assert report.measured is not None
    assert whole.measured is not None
    assert report.measured.primary == whole.measured.primary
    assert report.artifact == whole.artifact
    assert [gate.passed for gate in report.measured.gates][:1] == [False]


def test_the_largest_failure_keeps_its_reason() -> None:
    report = sent(
        {**the_largest_that_can_be(), "artifact": None, "outcome": "Failed", "failure": the_longest_failure()}
    )
    assert report.failure is not None
    assert report.failure.reason == "R" * 63
    assert not report.failure.retryable
    assert report.failure.message


def test_metrics_go_before_anything_else() -> None:
    report = the_largest_that_can_be()
    report["measured"]["gates"] = report["measured"]["gates"][:1]
    report["artifact"] = None
    kept = sent(report)
    assert kept.measured is not None
    assert len(kept.measured.metrics) < 64
    assert [gate.message for gate in kept.measured.gates] == ["m" * 160]


@given(message=st.text(max_size=1024), hint=st.text(max_size=512))
def test_any_failure_fits_and_can_be_read_back(message: str, hint: str) -> None:
    failure = {"reason": "InternalError", "message": message, "hint": hint, "retryable": True}
    report = {**the_largest_that_can_be(), "artifact": None, "outcome": "Failed", "failure": failure}
    assert sent(report).failure is not None


def test_user_errors_are_told_apart_by_their_code() -> None:
    assert ExitCode.DONE not in USER_ERRORS
    assert {code.name for code in USER_ERRORS} == {
        "BAD_SPEC",
        "BAD_DATA",
        "BAD_MODEL",
        "NO_ACCESS",
        "TARGET_IN_USE",
    }


def test_codes_leave_the_shells_own_alone() -> None:
    """126 and above are the shell's and signals'; 143 is SIGTERM, and means just that."""
    assert [code for code in ExitCode if code >= 126] == [ExitCode.INTERRUPTED]
