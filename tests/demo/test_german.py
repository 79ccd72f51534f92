import json
from pathlib import Path
from typing import Any

import pytest

from demo import german
from demo.errors import DemoError
from demo.german import Pair

LONG = "This program shows weather maps of the whole world, hour by hour, and warns of storms. " * 2


def stanza(language: str, checksum: str, summary: str, *lines: str) -> str:
    text = "".join(f" {line}\n" for line in lines)
    return f"Package: whatever\nDescription-md5: {checksum * 32}\nDescription-{language}: {summary}\n{text}\n"


def test_a_german_summary_is_joined_with_the_english_text_of_the_same_checksum() -> None:
    english = stanza("en", "a", "Weather maps", LONG.strip()) + stanza("en", "b", "Chess", "A game. " * 20)
    german_texts = stanza("de", "a", "Wetterkarten", "Dieses Programm zeigt …")
    assert german.join_translations([english], [german_texts]) == [Pair("Wetterkarten", LONG.strip())]


def test_paragraphs_become_one_line() -> None:
    english = stanza("en", "a", "Weather maps", LONG.strip(), ".", "Second paragraph.")
    (pair,) = german.join_translations([english], [stanza("de", "a", "Wetterkarten", "x")])
    assert pair.document == f"{LONG.strip()} Second paragraph."


def test_the_last_stanza_needs_no_empty_line_behind_it() -> None:
    english = stanza("en", "a", "Weather maps", LONG.strip()).rstrip()
    assert len(german.join_translations([english], [stanza("de", "a", "Wetterkarten", "x").rstrip()])) == 1


@pytest.mark.parametrize(
    ("english", "translated"),
    [
        pytest.param(("Maps", "Short."), "Karten", id="a document of fewer than 120 characters"),
        pytest.param(("Maps", LONG), "Maps", id="a summary that is not translated"),
    ],
)
def test_a_pair_is_left_out_when_it_teaches_nothing(english: tuple[str, str], translated: str) -> None:
    originals = stanza("en", "a", *english)
    assert german.join_translations([originals], [stanza("de", "a", translated, "x")]) == []


def test_every_query_and_every_document_comes_once() -> None:
    english = stanza("en", "a", "A", LONG) + stanza("en", "b", "B", LONG) + stanza("en", "c", "C", LONG + "!")
    translated = (
        stanza("de", "a", "eins", "x") + stanza("de", "b", "zwei", "x") + stanza("de", "c", "eins", "x")
    )
    assert [pair.query for pair in german.join_translations([english], [translated])] == ["eins"]


def pairs(count: int) -> list[Pair]:
    return [Pair(f"Frage {n}", f"document {n}") for n in range(count)]


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_the_tables_fit_together_and_train_rows_are_not_in_them(tmp_path: Path) -> None:
    german.write_tables(tmp_path / "new", german.plan_search(pairs(60), corpus=20, queries=5, train=40))
    train, queries, corpus, qrels = (
        rows(tmp_path / "new" / f"{name}.jsonl") for name in ("train", "queries", "corpus", "qrels")
    )
    assert (len(train), len(queries), len(corpus), len(qrels)) == (40, 5, 20, 5)
    documents = {row["_id"]: row["text"] for row in corpus}
    questions = {row["_id"]: row["text"] for row in queries}
    for row in qrels:
        number = questions[row["query-id"]].removeprefix("Frage ")
        assert documents[row["corpus-id"]] == f"document {number}"
    assert not {row["query"] for row in train} & set(questions.values())
    assert not {row["positive"] for row in train} & set(documents.values())


def test_too_few_translations_are_told_with_a_next_step() -> None:
    with pytest.raises(DemoError, match=r"found 3 .* 6600 are needed.*--only visual-documents"):
        german.plan_search(pairs(3))


def test_a_machine_without_apt_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DemoError, match=r"apt-get was not found.*--only visual-documents"):
        german.cached_tables(tmp_path)


def fake_apt(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = folder / "apt-get"
    program.write_text(f"#!/bin/bash\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_what_apt_complains_about_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_apt(tmp_path, monkeypatch, "echo 'E: no mirror' >&2; exit 100")
    with pytest.raises(DemoError, match=r"ended with 100:\nE: no mirror"):
        german.cached_tables(tmp_path)


def test_tables_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """apt is asked for both languages, in a folder of ours; the second time it is not asked at all."""
    count = german.CORPUS_SIZE + german.TRAIN_ROWS
    lists = tmp_path / "apt-translations"
    for language, text in (("en", LONG), ("de", "x")):
        stanzas = (
            f"Description-md5: {n:032x}\nDescription-{language}: {language} {n}\n {text}{n}\n\n"
            for n in range(count)
        )
        (tmp_path / language).write_text("".join(stanzas))
    (tmp_path / "bin").mkdir()
    copies = (f"cp {tmp_path}/{name} {lists}/mirror_main_i18n_Translation-{name}" for name in ("en", "de"))
    fake_apt(tmp_path / "bin", monkeypatch, f'echo "$@" >> {tmp_path}/calls\n' + "\n".join(copies))
    first = german.cached_tables(tmp_path)
    assert german.cached_tables(tmp_path) == first
    (call,) = (tmp_path / "calls").read_text().splitlines()
    assert f"Dir::State::Lists={lists}" in call
    assert "Acquire::Languages=en,de" in call
    assert len(rows(first / "train.jsonl")) == german.TRAIN_ROWS
    assert not lists.exists()
