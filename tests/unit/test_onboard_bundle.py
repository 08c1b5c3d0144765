"""The bundle archive: what goes in comes out, and everything that does not fit is refused by name."""

from __future__ import annotations

import hashlib
import io
import random
import zipfile
from pathlib import Path

import msgspec
import numpy as np
import pytest

from robot_dreamer.onboard.bundle import BundleError, Port, _read_npz, read_bundle, write_bundle
from robot_dreamer.onboard.manifest import TOLERANCES
from tests.onboard_models import STEPS, edit_manifest, make_bundle, record, rewrite, toy_manifest, toy_model, toy_spec

SPEC = toy_spec()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "a.bundle", SPEC, version=3)


def test_round_trip(path: Path) -> None:
    bundle = read_bundle(path, SPEC)
    model, inputs, outputs = toy_model(SPEC)
    assert bundle.model == model
    assert bundle.manifest.version == 3
    assert bundle.manifest.inputs == tuple(inputs)
    assert bundle.manifest.outputs == tuple(outputs)
    expected = record(model, inputs, outputs)
    assert bundle.recording.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(bundle.recording[name], array)
        assert bundle.recording[name].dtype == array.dtype


def test_equal_content_gives_equal_bytes_and_nothing_is_left_behind(tmp_path: Path) -> None:
    first = make_bundle(tmp_path / "a", SPEC).read_bytes()
    assert make_bundle(tmp_path / "b", SPEC).read_bytes() == first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_every_truncation_is_refused(path: Path) -> None:
    content = path.read_bytes()
    for size in (0, 1, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(BundleError, match="broken or truncated"):
            read_bundle(path, SPEC)


def test_flipped_bits_are_refused(path: Path) -> None:
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        starts = [info.header_offset + 60 for info in archive.infolist()]
    for start in starts:
        broken = bytearray(content)
        broken[start] ^= 1
        path.write_bytes(bytes(broken))
        with pytest.raises(BundleError):
            read_bundle(path, SPEC)


@pytest.mark.parametrize("name", ["policy.onnx", "recording.npz"])
def test_wrong_hash_names_the_file(path: Path, name: str) -> None:
    rewrite(path, lambda files: files.update({name: files[name] + b"\0"}))
    with pytest.raises(BundleError, match=f"sha256 of {name}: expected [0-9a-f]{{64}}, found [0-9a-f]{{64}}"):
        read_bundle(path, SPEC)


def test_later_format_is_named(path: Path) -> None:
    edit_manifest(path, format=2, something_new=1)
    with pytest.raises(BundleError, match="format: expected 1, found 2; update"):
        read_bundle(path, SPEC)


def test_unknown_field_of_the_manifest_is_refused(path: Path) -> None:
    edit_manifest(path, something_new=1)
    with pytest.raises(BundleError, match="something_new"):
        read_bundle(path, SPEC)


def test_another_robot_shows_both_sides(path: Path) -> None:
    with pytest.raises(BundleError, match=r"(?s)a\.bundle.*rate: ours 100\.0, theirs 50\.0"):
        read_bundle(path, toy_spec(rate="100.0"))


def test_spec_and_its_hash_must_agree(path: Path) -> None:
    edit_manifest(path, spec=toy_spec(rate="100.0").to_json())
    with pytest.raises(BundleError, match="spec_hash"):
        read_bundle(path, SPEC)


@pytest.mark.parametrize(
    ("spec", "problem"),
    [("{", "truncated"), ('{"name": 7}', r"Expected `str`, got `int` - at `\$.name`"), ("name: toy", "malformed")],
)
def test_a_broken_spec_is_named(path: Path, spec: str, problem: str) -> None:
    edit_manifest(path, spec=spec)
    with pytest.raises(BundleError, match=f"the spec in manifest.json: .*{problem}"):
        read_bundle(path, SPEC)


def test_extra_missing_and_compressed_files_are_refused(path: Path) -> None:
    content = path.read_bytes()
    rewrite(path, lambda files: files.update({"run_me.py": b""}))
    with pytest.raises(BundleError, match="run_me.py"):
        read_bundle(path, SPEC)
    path.write_bytes(content)
    rewrite(path, lambda files: files.pop("recording.npz"))
    with pytest.raises(BundleError, match="files: expected"):
        read_bundle(path, SPEC)
    path.write_bytes(content)
    rewrite(path, lambda files: None, zipfile.ZIP_DEFLATED)
    with pytest.raises(BundleError, match="compressed"):
        read_bundle(path, SPEC)


def test_size_is_checked_before_reading(path: Path) -> None:
    rewrite(path, lambda files: files.update({"manifest.json": b" " * (5 << 20)}))
    with pytest.raises(BundleError, match="manifest.json: expected at most 4194304 bytes, found 5242880"):
        read_bundle(path, SPEC)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no.bundle: cannot be read: No such file"):
        read_bundle(tmp_path / "no.bundle", SPEC)


def test_header_that_promises_more_than_there_is(path: Path) -> None:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40,)})
    lie = io.BytesIO()
    with zipfile.ZipFile(lie, "w") as archive:
        archive.writestr("input/obs_angle.npy", stream.getvalue())

    def change(files: dict[str, bytes]) -> None:
        manifest = msgspec.json.decode(files["manifest.json"])
        manifest["files"]["recording.npz"] = hashlib.sha256(lie.getvalue()).hexdigest()
        files.update({"recording.npz": lie.getvalue(), "manifest.json": msgspec.json.encode(manifest)})

    rewrite(path, change)
    with pytest.raises(BundleError, match="expected 4398046511104 bytes"):
        read_bundle(path, SPEC)


MODEL, INPUTS, OUTPUTS = toy_model(SPEC)


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        ([*INPUTS, Port("obs_x", "observation", "x", (1,))], OUTPUTS, "observation 'x' is not one of angle, speed"),
        ([Port("obs_angle", "observation", "angle", (3,)), *INPUTS[1:]], OUTPUTS, r"float32\[2\], found float32\[3\]"),
        ([*INPUTS, INPUTS[0]], OUTPUTS, "found twice: obs_angle"),
        (INPUTS, [p for p in OUTPUTS if p.role != "action"], r"expected the actions \['torque'\], found \[\]"),
        (INPUTS, [p for p in OUTPUTS if p.role != "state"], "state: inputs and outputs must agree"),
        (INPUTS, [*OUTPUTS, Port("joy", "monitor", "joy", ())], "'joy' is not one of surprise, value, reward"),
        (INPUTS, [*OUTPUTS, Port("f", "is_first", "f", (), "bool")], "is_first is not one of action, state, monitor"),
    ],
)
def test_ports_that_do_not_fit(tmp_path: Path, inputs: list[Port], outputs: list[Port], message: str) -> None:
    recording = record(MODEL, INPUTS, OUTPUTS)
    with pytest.raises(BundleError, match=message):
        write_bundle(tmp_path / "x", MODEL, toy_manifest(SPEC, inputs, outputs), recording)
    assert not list(tmp_path.iterdir())


def test_recording_that_does_not_fit(tmp_path: Path) -> None:
    manifest = toy_manifest(SPEC, INPUTS, OUTPUTS)
    good = record(MODEL, INPUTS, OUTPUTS)
    with pytest.raises(BundleError, match="missing .*output/action_torque"):
        write_bundle(tmp_path / "x", MODEL, manifest, {k: v for k, v in good.items() if k != "output/action_torque"})
    with pytest.raises(BundleError, match=rf"expected one length of at least 16 steps, found \[15, {STEPS}\]"):
        write_bundle(tmp_path / "x", MODEL, manifest, good | {"input/obs_speed": good["input/obs_speed"][:15]})
    with pytest.raises(BundleError, match=r"input/obs_speed: expected float32\[1\] per step, found float64\[1\]"):
        write_bundle(tmp_path / "x", MODEL, manifest, good | {"input/obs_speed": good["input/obs_speed"].astype(float)})


@pytest.mark.parametrize("field", ["version", "training_step"])
@pytest.mark.parametrize("value", [-1, 2**62 + 1, 2**63, 2**80])
def test_numbers_that_no_row_can_hold_are_refused_by_field(path: Path, field: str, value: int) -> None:
    edit_manifest(path, **{field: value})
    with pytest.raises(BundleError, match=field if abs(value) < 2**63 else "manifest.json"):
        read_bundle(path, SPEC)
    edit_manifest(path, **{field: 2**62})
    assert getattr(read_bundle(path, SPEC).manifest, field) == 2**62


@pytest.mark.parametrize("weights", TOLERANCES)
def test_a_bundle_does_not_say_how_wrong_it_may_be(path: Path, weights: str) -> None:
    most = TOLERANCES[weights]
    for tolerance in (0.0, -1.0, most * 1.01, 1.0, 1e300):
        edit_manifest(path, weights=weights, tolerance=tolerance)
        with pytest.raises(
            BundleError, match=f"tolerance: expected a number above 0, and at most {most:g} with {weights}"
        ):
            read_bundle(path, SPEC)
    edit_manifest(path, weights=weights, tolerance=most)
    assert read_bundle(path, SPEC).manifest.tolerance == most


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.soak)])
def test_any_bytes_of_a_recording_are_a_recording_or_refused(count: int) -> None:
    """Behind hashes that fit: whoever makes the bundle can write what he likes."""
    recording = record(MODEL, INPUTS, OUTPUTS)
    whole = io.BytesIO()
    np.savez(whole, **recording)
    assert _read_npz(memoryview(whole.getvalue())).keys() == recording.keys()
    with zipfile.ZipFile(whole) as archive:
        arrays = {name: archive.read(name) for name in archive.namelist()}
    for seed in range(count):
        chance = random.Random(seed)
        name = chance.choice(list(arrays))
        array = bytearray(arrays[name])
        for _ in range(chance.randint(1, 8)):
            at = chance.randrange(min(128, len(array)) if chance.random() < 0.8 else len(array))
            array[at] = chance.choice([0, 32, 39, 40, 41, 44, 48, 57, 123, 125, 255, chance.randrange(256)])
        forged = io.BytesIO()
        with zipfile.ZipFile(forged, "w") as archive:  # whose checksums fit too
            for other, content in arrays.items():
                archive.writestr(other, bytes(array) if other == name else content)
        broken = bytearray(forged.getvalue())
        if chance.random() < 0.2:
            broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(8)
        try:
            _read_npz(memoryview(bytes(broken)))
        except BundleError:
            continue
        except BaseException as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error
