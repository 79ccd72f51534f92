"""Audio, video and mixed columns: read in every format, decoded when looked at, refused when broken."""

import io
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from finetune_trainer.data import recordings
from finetune_trainer.data.features import modalities, sampled
from finetune_trainer.data.inputs import RetrievalData
from finetune_trainer.data.loading import load_evaluation_data
from finetune_trainer.data.media_formats import Modality, recording_format
from finetune_trainer.data.recordings import Sampling, decode_audio, decode_video, recording_problem
from finetune_trainer.data.wholeness import is_cut_off
from finetune_trainer.errors import InvalidData
from finetune_trainer.places import Places
from tests.trainer.builders import (
    a_spec,
    read_train_set,
    write_csv,
    write_jsonl,
    write_page,
    write_parquet,
)
from tests.trainer.media_files import (
    AUDIO_ENDINGS,
    RATE,
    VIDEO_ENDINGS,
    tone,
    write_audio,
    write_video,
    write_wav,
)

MIXED = {"columns": {"query": "q", "positive": "page"}}


def failure(places: Places, **train: Any) -> InvalidData:
    with pytest.raises(InvalidData) as raised:
        read_train_set(places, **train)
    return raised.value


def write(path: Path) -> Path:
    if path.suffix[1:] in AUDIO_ENDINGS:
        return write_audio(path)
    return write_video(path)


# Audio


@pytest.mark.parametrize("ending", AUDIO_ENDINGS)
def test_audio_of_every_format_is_decoded_when_it_is_looked_at(
    places: Places, data: Path, ending: str
) -> None:
    write_audio(data / f"a.{ending}")
    write_jsonl(data / "train.jsonl", [{"q": "a tone", "p": f"a.{ending}"}])
    audio = read_train_set(places).rows[0]["positive"]["audio"]
    assert audio["array"].dtype == np.float32
    assert audio["array"].shape[0] / audio["sampling_rate"] == pytest.approx(1, abs=0.1)
    assert 0.3 < np.abs(audio["array"]).max() < 0.7


@pytest.mark.parametrize("ending", ["wav", "flac", "mp3"])
def test_both_decoders_give_the_same_samples(data: Path, ending: str) -> None:
    encoded = write_audio(data / f"a.{ending}").read_bytes()
    found = recording_format(encoded)
    assert found is not None
    read = recordings._by_sndfile(encoded)
    assert read is not None
    one, rate = read
    other, other_rate = recordings._by_ffmpeg(encoded, found)
    assert rate == other_rate == RATE
    shared = min(len(one), len(other))
    assert shared >= RATE
    np.testing.assert_allclose(one[:shared], other[:shared], atol=1e-4)


def test_a_codec_that_only_ffmpeg_knows_is_decoded_too() -> None:
    target = io.BytesIO()
    with av.open(target, "w", format="wav") as file:
        stream: Any = file.add_stream("mp2", rate=RATE)
        frame = av.AudioFrame.from_ndarray(tone()[None], format="fltp", layout="mono")
        frame.sample_rate = RATE
        fitting = av.AudioResampler(format=stream.format, layout="mono", rate=RATE, frame_size=1152)
        for piece in (*fitting.resample(frame), *fitting.resample(None)):
            file.mux(stream.encode(piece))
        file.mux(stream.encode(None))
    assert recordings._by_sndfile(target.getvalue()) is None
    samples, rate = decode_audio(target.getvalue(), None)
    assert len(samples) / rate == pytest.approx(1, abs=0.1)


def test_audio_has_the_rate_that_is_asked_for_and_one_channel(data: Path) -> None:
    stereo = np.stack([tone(rate=48_000), np.zeros(48_000, np.float32)], axis=1)
    soundfile.write(data / "a.wav", stereo, 48_000)
    samples, rate = decode_audio((data / "a.wav").read_bytes(), RATE)
    assert (samples.shape, rate) == ((RATE,), RATE)
    np.testing.assert_allclose(samples[100:-100], tone()[100:-100] / 2, atol=0.01)


# Video


@pytest.mark.parametrize("ending", VIDEO_ENDINGS)
def test_video_of_every_format_is_decoded_when_it_is_looked_at(
    places: Places, data: Path, ending: str
) -> None:
    write_video(data / f"a.{ending}", frames=20, rate=10)
    write_jsonl(data / "train.jsonl", [{"q": "a film", "p": f"a.{ending}"}])
    video = read_train_set(places).rows[0]["positive"]["video"]
    assert video["array"].shape == (4, 48, 64, 3)
    assert video["video_metadata"]["duration"] == pytest.approx(2)
    assert video["video_metadata"]["fps"] == pytest.approx(2)


def test_frames_are_spread_evenly_from_the_first_to_the_last(data: Path) -> None:
    encoded = write_video(data / "a.avi", frames=21, rate=10).read_bytes()
    frames, _ = decode_video(encoded, Sampling(min_frames=3, max_frames=3))
    assert frames.mean(axis=(1, 2, 3)) == pytest.approx([0, 80, 160], abs=4)


def test_a_single_frame_is_shown_twice(data: Path) -> None:
    frames, metadata = decode_video(write_video(data / "a.mp4", frames=1).read_bytes(), Sampling())
    assert len(frames) == metadata["total_num_frames"] == 2


@given(st.floats(0, 1e5), st.integers(1, 50), st.integers(1, 1000))
def test_the_number_of_frames_stays_between_its_bounds(seconds: float, lowest: int, more: int) -> None:
    sampling = Sampling(min_frames=lowest, max_frames=lowest + more)
    assert lowest <= sampling.frames(seconds) <= lowest + more


# What is refused


@pytest.mark.parametrize("ending", [e for e in (*AUDIO_ENDINGS, *VIDEO_ENDINGS) if e != "aac"])
def test_cut_off_recordings_are_found(places: Places, data: Path, ending: str) -> None:
    whole = write(data / f"0.{ending}").read_bytes()
    (data / f"1.{ending}").write_bytes(whole[: len(whole) * 2 // 3])
    write_jsonl(data / "train.jsonl", [{"q": "a", "p": f"{i}.{ending}"} for i in range(2)])
    error = failure(places)
    assert error.reason in {"UnreadableAudio", "UnreadableVideo"}
    assert "row 1, column 'p' of pvc://data/train.jsonl" in error.message


@pytest.mark.parametrize(
    ("name", "other"),
    [("a.wav", "a.flac"), ("a.mp4", "a.avi"), ("a.mp4", "a.webm"), ("a.png", "a.jpg"), ("a.mp3", "a.m4a")],
)
def test_media_of_another_format_than_their_name_says_are_refused(
    places: Places, data: Path, name: str, other: str
) -> None:
    (write_page(data / other, "x") if name.endswith("png") else write(data / other)).rename(data / name)
    write_jsonl(data / "train.jsonl", [{"q": "a", "p": name}])
    error = failure(places)
    assert error.reason == "MislabelledMedia"
    assert f"{name} holds another format than its name says" in error.message


@pytest.mark.parametrize(("name", "reason"), [("a.mp4", "UnreadableVideo"), ("a.wav", "UnreadableAudio")])
def test_other_bytes_under_a_name_of_media_are_refused(
    places: Places, data: Path, name: str, reason: str
) -> None:
    (data / name).write_bytes(b"#EXTM3U\n/etc/passwd\n" * 50)
    write_jsonl(data / "train.jsonl", [{"q": "a", "p": name}])
    assert failure(places).reason == reason


def test_a_film_without_pictures_is_refused(places: Places, data: Path) -> None:
    write_audio(data / "a.m4a").rename(data / "a.mp4")
    write_jsonl(data / "train.jsonl", [{"q": "a", "p": "a.mp4"}])
    assert "must be video, found a MP4 file without any" in failure(places).message


def test_missing_recordings_are_counted(places: Places, data: Path) -> None:
    write_jsonl(data / "train.jsonl", [{"q": "a", "p": "a.mp3"}])
    error = failure(places)
    assert error.reason == "MissingFile"
    assert "1 of 1 audio files do not exist" in error.message


def test_a_column_of_two_kinds_of_media_is_refused(places: Places, data: Path) -> None:
    write_jsonl(data / "train.jsonl", [{"q": "a", "p": "a.mp3"}, {"q": "b", "p": "b.mp4"}])
    error = failure(places)
    assert error.reason == "MixedColumn"
    assert "row 0 names an audio file, row 1 names a video file" in error.message


@pytest.mark.parametrize(
    ("bound", "value", "name", "reason"),
    [
        ("MAX_SAMPLES", 10_000, "a.flac", "AudioTooLarge"),
        ("MAX_PIXELS", 1_000, "a.mp4", "VideoTooLarge"),
        ("MAX_FRAMES", 10, "a.mp4", "VideoTooLarge"),
        ("MAX_SECONDS", 1, "a.mp4", "VideoTooLarge"),
        ("MAX_VIDEO_PIXELS", 10_000, "a.webm", "VideoTooLarge"),
    ],
)
def test_recordings_that_would_fill_the_memory_are_refused(
    tmp_path: Path, bound: str, value: int, name: str, reason: str
) -> None:
    kind: Modality = "audio" if reason.startswith("Audio") else "video"
    encoded = write(tmp_path / name).read_bytes()
    assert recording_problem(encoded, kind) is None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recordings, bound, value)
        problem = recording_problem(encoded, kind)
    assert problem is not None
    assert problem.reason == reason


@given(st.binary(max_size=200), st.sampled_from(["audio", "video"]))
def test_no_bytes_bring_the_checks_down(encoded: bytes, kind: Any) -> None:
    assert recording_problem(encoded, kind) is not None
    if (found := recording_format(encoded)) is not None:
        is_cut_off(encoded, found)


@given(
    start=st.sampled_from(
        [b"RIFF\0\0\0\0WAVE", b"\0\0\0\x14ftyp", b"OggS", b"\x1aE\xdf\xa3", b"fLaC", b"ID3"]
    ),
    rest=st.binary(max_size=300),
)
def test_no_head_of_a_recording_brings_the_checks_down(start: bytes, rest: bytes) -> None:
    assert recording_problem(start + rest, "audio") is not None
    assert recording_problem(start + rest, "video") is not None


# Tables that carry their media, folders, mixes and lists


@pytest.mark.parametrize(("name", "kind"), [("a.wav", "audio"), ("a.mp4", "video"), ("a.m4a", "audio")])
def test_media_inside_a_table_are_what_their_bytes_say(
    places: Places, data: Path, name: str, kind: str
) -> None:
    cell = {"bytes": write(data / name).read_bytes(), "path": "whatever"}
    write_parquet(data / "train.parquet", {"q": ["a"], "p": [cell]})
    write_jsonl(data / "train.jsonl", [{"q": "a", "p": name}])
    inside, beside = read_train_set(places, uri="pvc://data/train.parquet"), read_train_set(places)
    assert set(inside.rows[0]["positive"]) == {kind}
    assert inside.digest == beside.digest


def test_a_path_in_place_of_bytes_stays_inside_the_volume(places: Places, data: Path) -> None:
    write_page(data / "pages" / "a.png", "a")
    write_page(data.parent / "outside.png", "secret")
    inside = {"bytes": write_page(data / "b.png", "b").read_bytes(), "path": "/nowhere/b.png"}
    rows: dict[str, list[Any]] = {"q": ["a", "b"], "p": [{"bytes": None, "path": "pages/a.png"}, inside]}
    write_parquet(data / "train.parquet", rows)
    found = read_train_set(places, uri="pvc://data/train.parquet").rows
    assert [cell.size for cell in found["positive"]] == [(64, 64), (64, 64)]
    reasons = {"../outside.png": "PathEscapes", "/etc/passwd": "PathEscapes", "x.png": "MissingFile"}
    for path, reason in reasons.items():
        write_parquet(data / "train.parquet", {"q": ["a"], "p": [{"bytes": None, "path": path}]})
        assert failure(places, uri="pvc://data/train.parquet").reason == reason


@pytest.mark.parametrize("name", ["clip.wav", "clip.mp4"])
def test_a_folder_of_recordings_is_read_through_its_metadata(places: Places, data: Path, name: str) -> None:
    write(data / "train" / name)
    write_csv(data / "train" / "metadata.csv", [{"file_name": name, "q": "a"}])
    kind = "audio" if name.endswith("wav") else "video"
    found = read_train_set(places, uri="pvc://data", split="train", columns={"query": "q", "positive": kind})
    assert set(found.rows[0]["positive"]) == {kind}


def test_columns_are_combined_into_one_of_mixed_inputs(places: Places, data: Path) -> None:
    for i in range(3):
        write_page(data / f"{i}.png", str(i))
    rows = [{"q": f"q{i}", "title": f"page {i}", "scan": f"{i}.png"} for i in range(3)]
    write_jsonl(data / "train.jsonl", rows)
    mix = {"name": "page", "text": "title", "image": "scan"}
    found = read_train_set(places, combine=[mix], **MIXED)
    assert modalities(found.rows.features["positive"]) == ("text", "image")
    cell = found.rows[1]["positive"]
    assert list(cell) == ["text", "image"]
    assert cell["text"] == "page 1"
    assert isinstance(cell["image"], Image.Image)
    assert len(set(found.content_keys[:, 1])) == 3


def test_structs_of_texts_and_paths_are_mixed_too(places: Places, data: Path) -> None:
    write_page(data / "a.png", "a")
    write_jsonl(data / "train.jsonl", [{"q": "a", "page": {"text": "a page", "image": "a.png"}}])
    cell = read_train_set(places, **MIXED).rows[0]["positive"]
    assert (cell["text"], cell["image"].size) == ("a page", (64, 64))


def test_queries_and_corpus_have_mixes_of_their_own(places: Places, data: Path) -> None:
    write_page(data / "a.png", "a")
    write_jsonl(data / "queries.jsonl", [{"id": "q", "t": "what"}])
    write_jsonl(data / "corpus.jsonl", [{"id": "d", "t": "a page", "i": "a.png"}])
    write_jsonl(data / "qrels.jsonl", [{"q": "q", "d": "d"}])
    corpus = {"uri": "pvc://data/corpus.jsonl", "id": "id", "input": "page"}
    dev = {
        "name": "dev",
        "queries": {"uri": "pvc://data/queries.jsonl", "id": "id", "input": "t"},
        "corpus": {**corpus, "combine": [{"name": "page", "text": "t", "image": "i"}]},
        "qrels": {"uri": "pvc://data/qrels.jsonl", "query": "q", "document": "d"},
    }
    found = load_evaluation_data(a_spec(dev=dev), places)["dev"]
    assert isinstance(found, RetrievalData)
    assert set(found.corpus.inputs[0]) == {"text", "image"}


def test_a_struct_of_media_is_mixed_in_its_own_order(places: Places, data: Path) -> None:
    page = {"bytes": write_page(data / "a.png", "a").read_bytes(), "path": None}
    sound = {"bytes": write_wav(data / "a.wav").read_bytes(), "path": None}
    cells = [{"image": page, "audio": sound, "text": "a page"}] * 2
    write_parquet(data / "train.parquet", {"q": ["a", "b"], "page": cells})
    cell = read_train_set(places, uri="pvc://data/train.parquet", **MIXED).rows[0]["positive"]
    assert list(cell) == ["image", "audio", "text"]
    assert cell["audio"]["sampling_rate"] == RATE


@pytest.mark.parametrize(
    ("row", "reason", "message"),
    [
        ({"title": None, "scan": "0.png"}, "EmptyCell", "column 'title'"),
        ({"title": "a", "scan": None}, "EmptyCell", "column 'scan'"),
        ({"title": "a", "scan": "1.png"}, "MissingFile", "1 of 2 image files"),
        ({"title": "a", "scan": "some text"}, "UnsupportedMedia", "must name image, one of .jpg"),
    ],
)
def test_a_broken_part_of_a_mix_is_named(
    places: Places, data: Path, row: dict[str, Any], reason: str, message: str
) -> None:
    write_page(data / "0.png", "0")
    write_jsonl(data / "train.jsonl", [{"q": "q", "title": "t", "scan": "0.png"}, {"q": "r", **row}])
    error = failure(places, combine=[{"name": "page", "text": "title", "image": "scan"}], **MIXED)
    assert error.reason == reason
    assert message in error.message


def test_a_mix_of_absent_columns_and_one_with_a_taken_name_are_refused(places: Places, data: Path) -> None:
    write_jsonl(data / "train.jsonl", [{"q": "q", "page": "t"}])
    error = failure(
        places,
        combine=[{"name": "mix", "text": "page", "image": "scan"}],
        columns={"query": "q", "positive": "mix"},
    )
    assert (error.reason, "no column 'scan'" in error.message) == ("MissingColumn", True)
    assert failure(places, combine=[{"name": "page", "text": "q", "image": "p"}], **MIXED).reason == (
        "DuplicateColumn"
    )


def test_lists_of_texts_and_of_images_are_inputs_of_their_row(places: Places, data: Path) -> None:
    for i in range(3):
        write_page(data / f"{i}.png", str(i))
    rows = [
        {"q": "a", "texts": ["x", "y"], "pages": ["0.png"], "s": [1, 0]},
        {"q": "b", "texts": ["z"], "pages": ["1.png", "2.png"], "s": [0.5]},
    ]
    write_jsonl(data / "train.jsonl", rows)
    found = read_train_set(places, columns={"inputs": ["q", "texts", "pages"], "label": "s"})
    assert found.rows["input_1"][:] == [["x", "y"], ["z"]]
    assert [len(pages) for pages in found.rows["input_2"][:]] == [1, 2]
    assert isinstance(found.rows[1]["input_2"][1], Image.Image)
    assert found.rows["label"][:] == [[1.0, 0.0], [0.5]]


@pytest.mark.parametrize(
    ("cell", "reason", "row"), [([], "EmptyCell", 1), (["x", " "], "EmptyCell", 1), (None, "EmptyCell", 1)]
)
def test_a_broken_item_of_a_list_is_named_by_its_row(
    places: Places, data: Path, cell: Any, reason: str, row: int
) -> None:
    write_jsonl(data / "train.jsonl", [{"q": "a", "d": ["x", "y", "z"]}, {"q": "b", "d": cell}])
    error = failure(places, columns={"inputs": ["q", "d"]})
    assert error.reason == reason
    assert f"row {row}" in error.message


def test_recordings_are_decoded_as_the_model_wants_them_and_the_others_stay(
    places: Places, data: Path
) -> None:
    write_wav(data / "a.wav")
    write_video(data / "a.mp4")
    write_jsonl(data / "train.jsonl", [{"q": "a.wav", "p": "a.mp4", "n": "text"}])
    rows = read_train_set(places, columns={"query": "q", "positive": "p", "negatives": ["n"]}).rows
    other = sampled(rows, Sampling(sampling_rate=8_000, min_frames=6, max_frames=6))
    assert other[0]["query"]["audio"]["array"].shape == (8_000,)
    assert other[0]["positive"]["video"]["array"].shape[0] == 6
    assert other[0]["negative_0"] == "text"
    assert rows[0]["query"]["audio"]["array"].shape == (16_000,)
