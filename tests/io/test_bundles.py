"""Folders are written whole, read back bit for bit, and say what is wrong with them."""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from whyray.cards import Card
from whyray.errors import DiskFullError, InputError, SettingError
from whyray.explanations import Attribution, Counterfactual, Explanation, PatternSum, Statement
from whyray.io import bundles
from whyray.io.bundles import MANIFEST, folder_name, load_bundle, write_bundle
from whyray.io.records import Record, RunRecord, file_name, record, schema_text, to_json
from whyray.types import Prediction, Provenance, Radiograph

BACKEND = "torch/float32/cpu"
COMMON = {
    "finding": "pneumonia",
    "provenance": Provenance("gradcam", 1, {"k": 3}, 7, "f" * 64, "a" * 64, "b" * 64, BACKEND, 0.1, "0.1.0"),
    "checks": {"gap": 0.25, "stability": float("nan")},
    "notes": ("A note.",),
}
GRID = {"to_source": np.diag([16.0, 12.0, 1.0]), "source_shape": (96, 128)}
RNG = np.random.default_rng(0)
KINDS: dict[str, Explanation] = {
    "gradcam": Attribution(values=RNG.normal(size=(8, 8)), unit="logit", **GRID, **COMMON),
    "latent_shift": Counterfactual(
        frames=RNG.random((3, 8, 8), np.float32),
        lambdas=np.array([-1.0, 0, 1]),
        logits=RNG.normal(size=(3, 2)),
        findings=("pneumonia", "mass"),
        probabilities=np.array([0.2, 0.5, 0.8]),
        base=RNG.random((8, 8), np.float32),
        stop=("range", "target"),
        **GRID,
        **COMMON,
    ),
    "patterns": PatternSum(
        patterns=("p3", "p9"),
        names=("a line", "p9"),
        categories=("device", "unassigned"),
        contributions=np.array([0.7, -0.2]),
        probabilities=np.array([0.3, 0.5]),
        probability=0.45,
        bias=-1.0,
        others=0.2,
        unnamed=0.1,
        residual=0.0,
        maps=RNG.random((2, 8, 8), np.float32),
        rest=RNG.random((8, 8), np.float32),
        **GRID,
        **COMMON,
    ),
    "template": Statement(text="Because.", audience="lay", evidence=("pneumonia/gradcam",), **COMMON),
}


@pytest.fixture
def radiograph() -> Radiograph:
    return Radiograph(
        np.full((96, 128), 0.5),
        name="chest",
        view="PA",
        spacing_mm=(0.2, 0.2),
        warnings=("odd border",),
        patient_key="secret-key",
        facts={"modality": "DX"},
    )


def made(radiograph: Radiograph, results: dict | None = None, **options) -> tuple[Record, dict]:
    results = {"pneumonia": {**KINDS, "lrp": "no rules for this layer"}} if results is None else results
    model = SimpleNamespace(name="stub", fingerprint="ab" * 32, backend="torch/float32/cpu", taps={}, card=Card("stub"))
    predictions = [Prediction("pneumonia", 1.4, 0.6, 0.3, 0.1, True), Prediction("mass", float("nan"), 0.2)]
    run = RunRecord(command="whyray explain /home/jane/chest.png")
    return record(radiograph, model, predictions, results, run, warnings=("far from training",), **options), results


def same(a: object, b: object) -> bool:
    """Equal, arrays bit for bit, NaN equal to NaN."""
    if dataclasses.is_dataclass(a):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and a.tobytes() == b.tobytes() and a.shape == b.shape
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, float) and math.isnan(a):
        return isinstance(b, float) and math.isnan(b)
    return a == b and type(a) is type(b)


def test_every_kind_comes_back(radiograph: Radiograph, tmp_path: Path) -> None:
    rec, results = made(radiograph)
    folder = write_bundle(tmp_path, rec, results, {"pneumonia-gradcam.png": b"png"})
    back = load_bundle(folder)
    assert same(dict(back.results), results)
    assert folder.name == f"chest-{radiograph.sha256[:8]}"
    entry = back.record.findings[0].explanations[0]
    assert (entry.file, entry.overlay) == ("pneumonia-gradcam.npz", "pneumonia-gradcam.png")
    assert dataclasses.replace(back.record, files={}, findings=()) == dataclasses.replace(rec, findings=())


LONG = "occlusion:window=112,stride=112,fill={},precision=float32,backend=torch"
ALIKE = {
    "cut where they differ": (LONG.format("black"), LONG.format("white")),
    "a comma in a value": ("x:layer=a,smooth=2", "x:layer=a_smooth_2"),
    "a sign": ("x:fill=+1", "x:fill=1"),
    "a folder": ("x:autoencoder=a/b", "x:autoencoder=a b"),
    "small and capital letters": ("x:layer=Conv", "x:layer=conv"),
}


@pytest.mark.parametrize("labels", ALIKE.values(), ids=ALIKE)
def test_specifications_never_share_a_file(radiograph: Radiograph, tmp_path: Path, labels: tuple[str, str]) -> None:
    maps = [dataclasses.replace(KINDS["gradcam"], values=np.full((8, 8), float(i))) for i in range(2)]
    rec, results = made(radiograph, {"pneumonia": dict(zip(labels, maps, strict=True))})
    pictures = {file_name("pneumonia", label, ".png"): label.encode() for label in labels}
    folder = write_bundle(tmp_path, rec, results, pictures)
    back = load_bundle(folder)
    assert same(dict(back.results), results)
    entries = {e.explainer: e for e in back.record.findings[0].explanations}
    assert len({e.file.lower() for e in entries.values()}) == 2
    for label in labels:
        assert (folder / entries[label].overlay).read_bytes() == label.encode()
        assert entries[label].overlay == entries[label].file.replace(".npz", ".png")
        assert entries[label].overlay.startswith(f"pneumonia-{label.partition(':')[0]}"), "readable"
        assert len(entries[label].overlay) < 150


def test_files_that_two_explanations_shared_tell_nothing_wrong(radiograph: Radiograph, tmp_path: Path) -> None:
    """As earlier versions wrote them: one file, named by both, with the arrays of the later one."""
    first, second = ALIKE["cut where they differ"]
    rec, results = made(radiograph, {"pneumonia": {first: KINDS["gradcam"], second: KINDS["gradcam"]}})
    folder = write_bundle(tmp_path, rec, results, {})
    data = json.loads((folder / MANIFEST).read_text())
    entries = data["findings"][0]["explanations"]
    entries[0]["file"] = entries[1]["file"]
    (folder / MANIFEST).write_text(json.dumps(data))
    back = load_bundle(folder).results["pneumonia"]
    assert same(back[second], KINDS["gradcam"])
    assert back[first] == f"the arrays of {second} were written over its own; explain the picture again"


def test_the_manifest_holds_what_is_promised(radiograph: Radiograph, tmp_path: Path) -> None:
    rec, results = made(radiograph)
    text = (write_bundle(tmp_path, rec, results, {}) / MANIFEST).read_text()
    data = json.loads(text)
    assert data["notice"] == "Research use only. Not for clinical use."
    assert data["warnings"] == ["odd border", "far from training"]
    assert data["image"]["width"] == 128
    finding = data["findings"][0]
    assert {"finding", "logit", "probability", "explanations"} <= finding.keys()
    assert {"explainer", "kind", "file", "checks", "seconds"} <= finding["explanations"][0].keys()
    assert finding["explanations"][0]["checks"] == {"gap": 0.25, "stability": None}
    assert finding["explanations"][-1]["skipped"] == "no rules for this layer"
    assert data["findings"][1]["logit"] is None
    assert "secret-key" not in text


def test_anonymous_is_the_hash_alone(radiograph: Radiograph, tmp_path: Path) -> None:
    rec, results = made(radiograph, anonymous=True)
    folder = write_bundle(tmp_path, rec, results, {})
    assert folder.name == radiograph.sha256[:8]
    assert "jane" not in (folder / MANIFEST).read_text()
    assert "chest" not in (folder / MANIFEST).read_text()


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", ".hidden", "", "ä ö\n", "x" * 300, "con:", "-rf"])
def test_folder_names_are_tame(radiograph: Radiograph, tmp_path: Path, name: str) -> None:
    rec, _ = made(dataclasses.replace(radiograph, name=name), results={})
    folder = write_bundle(tmp_path / "out", rec, {}, {"../evil.png": b""})
    assert folder.parent == tmp_path / "out"
    assert len(folder.name) < 80
    assert not folder.name.startswith((".", "-"))
    assert {p.name for p in tmp_path.iterdir()} == {"out"}
    assert load_bundle(folder).record == dataclasses.replace(rec, files=load_bundle(folder).record.files)


def test_arrays_are_plain_npz(radiograph: Radiograph, tmp_path: Path) -> None:
    rec, results = made(radiograph)
    folder = write_bundle(tmp_path, rec, results, {})
    with np.load(folder / "pneumonia-gradcam.npz", allow_pickle=False) as data:
        assert set(data.files) == {"values", "to_source", "source_shape"}
        assert data["source_shape"].tolist() == [96, 128]
        assert data["values"].dtype == np.float32


def test_two_runs_write_the_same_picture_at_one_time(radiograph: Radiograph, tmp_path: Path) -> None:
    rec, results = made(radiograph, results={})
    errors: list[str] = []
    together = threading.Barrier(2)

    def run(letter: bytes) -> None:
        for number in range(30):
            together.wait()
            try:
                write_bundle(tmp_path / str(number), rec, results, {"a.png": letter})
            except (OSError, SettingError) as error:
                errors.append(repr(error))

    writers = [threading.Thread(target=run, args=(letter,)) for letter in (b"a", b"b")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert not errors
    for number in range(30):
        (folder,) = (tmp_path / str(number)).iterdir()
        assert load_bundle(folder).record.files.keys() == {"a.png"}, "whole, whoever was last"


@pytest.mark.parametrize("exchange", [True, False])
def test_an_earlier_folder_is_replaced(
    radiograph: Radiograph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    if not exchange:
        monkeypatch.setattr(bundles, "_exchange", lambda a, b: False)
    rec, results = made(radiograph)
    write_bundle(tmp_path, rec, results, {"old.png": b"old"})
    folder = write_bundle(tmp_path, rec, results, {"new.png": b"new"})
    assert (folder / "new.png").exists()
    assert not (folder / "old.png").exists()
    assert [p.name for p in tmp_path.iterdir()] == [folder.name]


@pytest.mark.parametrize("at", range(6))
def test_a_failing_write_leaves_the_earlier_folder_whole(
    radiograph: Radiograph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    rec, results = made(radiograph)
    folder = write_bundle(tmp_path, rec, results, {"a.png": b"old"})
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    real, calls = Path.write_bytes, iter(range(99))

    def failing(self: Path, data: bytes) -> int:
        if next(calls) >= at:
            raise OSError(errno.ENOSPC, "full")
        return real(self, data)

    monkeypatch.setattr(Path, "write_bytes", failing)
    monkeypatch.setattr(bundles.os, "fsync", lambda fd: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    with pytest.raises(DiskFullError, match="no room"):
        write_bundle(tmp_path, rec, results, {"a.png": b"new"})
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == [folder.name]


def test_other_failures_are_not_called_a_full_disk(radiograph: Radiograph, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match="no folder that can be written"):
        write_bundle(tmp_path / "file", *made(radiograph), {})


def test_any_changed_byte_is_found(radiograph: Radiograph, tmp_path: Path) -> None:
    rec, results = made(radiograph)
    folder = write_bundle(tmp_path, rec, results, {"a.png": b"12345678"})
    for name in load_bundle(folder).record.files:
        good = (folder / name).read_bytes()
        for place in RNG.integers(0, len(good), 10):
            bad = bytearray(good)
            bad[place] ^= 1
            (folder / name).write_bytes(bytes(bad))
            with pytest.raises(InputError, match="was changed"):
                load_bundle(folder)
        (folder / name).unlink()
        with pytest.raises(InputError, match="is missing"):
            load_bundle(folder)
        (folder / name).write_bytes(good)
    load_bundle(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: "not json", "not one whyray wrote"),
        (lambda d: json.dumps({"image": 3}), "not one whyray wrote"),
        (lambda d: json.dumps(d | {"files": {"../x": "0" * 64}}), "outside the folder"),
        (lambda d: json.dumps(d | {"files": {}}), "cannot be read"),
        (lambda d: json.dumps(d).replace('"kind": "attribution"', '"kind": "magic"'), "cannot be read"),
    ],
)
def test_a_foreign_manifest_is_refused(radiograph: Radiograph, tmp_path: Path, change, words: str) -> None:
    folder = write_bundle(tmp_path, *made(radiograph), {})
    (folder / MANIFEST).write_text(change(json.loads((folder / MANIFEST).read_text())))
    with pytest.raises(InputError, match=words):
        load_bundle(folder)


def test_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no explanation\.json"):
        load_bundle(tmp_path)


def test_a_pickle_in_disguise_is_refused(radiograph: Radiograph, tmp_path: Path) -> None:
    import hashlib

    folder = write_bundle(tmp_path, *made(radiograph), {})
    target = folder / "pneumonia-gradcam.npz"
    with zipfile.ZipFile(target, "w") as archive, archive.open("values.npy", "w") as member:
        np.lib.format.write_array(member, np.array([{}], dtype=object), allow_pickle=True)
    data = json.loads((folder / MANIFEST).read_text())
    data["files"][target.name] = hashlib.sha256(target.read_bytes()).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(data))
    with pytest.raises(InputError, match="cannot be read"):
        load_bundle(folder)


def test_published_schema_is_current() -> None:
    path = Path(__file__).parents[2] / "docs" / "explanation.schema.json"
    fix = "from whyray.io.records import schema_text; open('docs/explanation.schema.json', 'w').write(schema_text())"
    assert path.read_text() == schema_text(), f'run: python -c "{fix}"'


def test_a_record_fits_the_published_schema(radiograph: Radiograph, tmp_path: Path) -> None:
    """A slow second reading of the schema: types, required and unknown properties, references."""
    schema = json.loads(schema_text())

    def check(value: object, rule: dict, where: str) -> None:
        if "$ref" in rule:
            rule = schema["$defs"][rule["$ref"].rpartition("/")[2]]
        if "anyOf" in rule:
            errors = []
            for option in rule["anyOf"]:
                try:
                    return check(value, option, where)
                except AssertionError as error:
                    errors.append(str(error))
            raise AssertionError(f"{where}: {errors}")
        kinds = {
            "object": dict,
            "array": list,
            "string": str,
            "integer": int,
            "number": (int, float),
            "boolean": bool,
            "null": type(None),
        }
        if "type" in rule:
            assert isinstance(value, kinds[rule["type"]]), where
        if isinstance(value, dict):
            known = rule.get("properties", {})
            extra = rule.get("additionalProperties", not known)
            assert set(rule.get("required", ())) <= value.keys(), where
            for key, item in value.items():
                assert key in known or extra, f"{where}.{key}"
                check(item, known.get(key, extra if isinstance(extra, dict) else {}), f"{where}.{key}")
        for i, item in enumerate(value if isinstance(value, list) else []):
            prefix = rule.get("prefixItems", [])
            check(item, prefix[i] if i < len(prefix) else rule.get("items", {}), f"{where}[{i}]")
        return None

    data = json.loads((write_bundle(tmp_path, *made(radiograph), {}) / MANIFEST).read_text())
    check(data, schema, "record")
    for broken in ({**data, "notice": 3}, {k: v for k, v in data.items() if k != "image"}):
        with pytest.raises(AssertionError):
            check(broken, schema, "record")


def test_folder_name_follows_the_record(radiograph: Radiograph) -> None:
    assert folder_name(made(radiograph)[0]) == f"chest-{radiograph.sha256[:8]}"
    assert to_json(made(radiograph)[0])["schema"] == 1


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("u\u0308ni\u0308code \u2013 \u80f8\u90e8 x", "\u00fcn\u00efcode_\u80f8\u90e8_x"),
        ("\u202e../\u80f8\x00/\u90e8", "_.._\u80f8_\u90e8"),
        ("\u80f8" * 300, "\u80f8" * 40),
        ("\u0301\u80f8", "_\u0301\u80f8"),
    ],
)
def test_letters_of_other_scripts_stay(radiograph: Radiograph, name: str, stem: str) -> None:
    record, *_ = made(dataclasses.replace(radiograph, name=name))
    assert folder_name(record) == f"{stem}-{radiograph.sha256[:8]}"
