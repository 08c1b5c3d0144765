"""The bundle: what travels to a robot. One zip archive, stored, not compressed, nothing executable in it.

  policy.onnx     one policy step, batch 1: observations, state, noise -> action, state, monitor
  manifest.json   `Manifest`: for which robot, from which training step, table of inputs and outputs, hashes
  recording.npz   inputs and expected outputs of consecutive steps; the robot replays it before it trusts the model

`recording.npz` holds `input/<port name>` of shape (T, *port.shape) for every input that is not a state, and
`output/<port name>` for every action (for states and monitors too if the exporter likes). State starts from zeros
and is fed back.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from robot_dreamer.durable import replacing, unfinished
from robot_dreamer.json_bytes import decode_json
from robot_dreamer.onboard.manifest import (
    FORMAT,
    BundleError,
    Manifest,
    PassingProblem,
    Port,
    check_manifest,
    check_recording,
    own_spec,
)
from robot_dreamer.spec import RobotSpec, SpecError, known_robots, load_spec, require_same_spec
from robot_dreamer.spec.safety import check_safety

__all__ = ["Bundle", "BundleError", "Manifest", "Port", "read_bundle", "spec_for", "write_bundle"]

MODEL, MANIFEST, RECORDING = "policy.onnx", "manifest.json", "recording.npz"
_LIMITS = {MODEL: 2 << 30, MANIFEST: 4 << 20, RECORDING: 256 << 20}  # bytes; protobuf ends at 2 GiB
_NPY_HEADER = re.compile(
    rb"\{'descr': '([<|][bfiu][1248])', 'fortran_order': False, 'shape': \(((?:[0-9]{1,15}, ?)*[0-9]{0,15})\), \} *\n"
)
_LOCAL = struct.Struct("<26xHH")  # header before a file in a zip archive; lengths of its name and its extra field
_FIXED_DATE = (1980, 1, 1, 0, 0, 0)  # equal content gives equal bytes


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle in memory, checked by `read_bundle`, not yet verified by replay."""

    manifest: Manifest
    model: bytes | memoryview
    recording: dict[str, NDArray[Any]]
    spec: RobotSpec
    source: str  # file name, for messages


def write_bundle(path: Path, model: bytes, manifest: Manifest, recording: Mapping[str, NDArray[Any]]) -> None:
    """Write a bundle atomically: after a crash there is the old file or the new one, never a half.

    Raises:
      BundleError: ports, recording or spec do not fit each other.
    """
    check_manifest(manifest, own_spec(manifest))
    check_recording(recording, manifest)
    buffer = io.BytesIO()
    np.savez(buffer, **{name: np.ascontiguousarray(array) for name, array in recording.items()})  # type: ignore[arg-type]
    contents = {MODEL: model, RECORDING: buffer.getvalue()}
    filled = msgspec.structs.replace(manifest, files={n: hashlib.sha256(b).hexdigest() for n, b in contents.items()})
    contents[MANIFEST] = msgspec.json.format(msgspec.json.encode(filled), indent=2)
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in contents.items():
            archive.writestr(zipfile.ZipInfo(name, _FIXED_DATE), content)


def read_bundle(path: Path, spec: RobotSpec | None) -> Bundle:
    """Read a bundle for the robot `spec` (None: for whichever it is); sizes are checked before anything is read, hashes
    before anything is parsed.

    Raises:
      BundleError: not a bundle, truncated, too large, wrong hash, unknown format, another robot, ports that do not fit.
    """
    path = Path(path)
    try:
        contents = _read_archive(path)
        manifest = _parse_manifest(contents[MANIFEST])
        for name in (MODEL, RECORDING):
            found = hashlib.sha256(contents[name]).hexdigest()
            expected = manifest.files.get(name, "none")
            if found != expected:
                raise BundleError(f"sha256 of {name}: expected {expected}, found {found}")
        theirs = own_spec(manifest)
        spec = spec or theirs
        try:
            require_same_spec(spec, theirs, "the bundle")
        except SpecError as error:
            raise BundleError(str(error)) from error
        check_manifest(manifest, spec)
        recording = _read_npz(contents[RECORDING])
        check_recording(recording, manifest)
    except BundleError as error:
        raise type(error)(f"bundle {path}: {error}") from error
    return Bundle(manifest, contents[MODEL], recording, spec, path.name)


def spec_for(robot: str, bundle: Path | None) -> RobotSpec:
    """The RobotSpec that a person names, or the one that a bundle was made for; cartpole where neither is given.

    A bundle's robot that is a shipped one, to the letter, is that: so its model is found, which lies beside its file.

    Raises:
      SpecError: see `load_spec`.
      BundleError: there is no bundle, or not a whole one; or its robot's safety section is one that is refused today.
    """
    if robot or bundle is None:
        return load_spec(robot or "cartpole")
    try:
        spec = own_spec(_parse_manifest(_read_archive(Path(bundle))[MANIFEST]))
    except BundleError as error:
        raise BundleError(f"bundle {bundle}: {error}") from error
    try:
        check_safety(spec)
    except ValueError as error:
        advice = "name the robot by a file in which that is mended; safety is no part of the contract"
        raise BundleError(f"bundle {bundle}: its robot must not act so: {error}; {advice}") from error
    shipped = load_spec(spec.name) if spec.name in known_robots() else spec
    return shipped if shipped == spec else spec


def remove_unfinished(folder: Path) -> None:
    """Remove what `write_bundle` left in a learner's own folder when it was killed."""
    for leftover in unfinished(folder, "*.zip"):
        leftover.unlink()


def _read_archive(path: Path) -> dict[str, memoryview]:
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            found = sorted(info.filename for info in archive.infolist())
            if found != sorted(_LIMITS):
                raise BundleError(f"files: expected {sorted(_LIMITS)}, found {found}")
            contents = {}
            for info in archive.infolist():
                _check_member(info, _LIMITS[info.filename])
                contents[info.filename] = _read_member(file, info)
            return contents
    except OSError as error:
        raise PassingProblem(f"cannot be read: {error.strerror or error}") from error
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise BundleError(f"expected a complete zip archive, found a broken or truncated one ({error})") from error


def _read_member(file: BinaryIO, info: zipfile.ZipInfo) -> memoryview:
    """A stored file's bytes, read and checked without the interpreter's lock, unlike `ZipFile.read`: see `provider`."""
    file.seek(info.header_offset)
    header = file.read(_LOCAL.size)
    if len(header) != _LOCAL.size or not header.startswith(b"PK\3\4"):
        raise zipfile.BadZipFile(f"{info.filename} has no local header")
    file.seek(sum(_LOCAL.unpack(header)), os.SEEK_CUR)
    content = np.empty(info.file_size, np.uint8).data  # a bytearray would be filled with zeros first
    if file.readinto(content) != info.file_size:  # type: ignore[attr-defined]
        raise zipfile.BadZipFile(f"{info.filename} is cut off")
    if zlib.crc32(content) != info.CRC:
        raise zipfile.BadZipFile(f"bad CRC-32 of {info.filename}")
    return content.toreadonly()


def _check_member(info: zipfile.ZipInfo, limit: int) -> None:
    if info.compress_type != zipfile.ZIP_STORED:
        raise BundleError(f"{info.filename}: expected a stored file, found a compressed one")
    if info.file_size > limit:
        raise BundleError(f"{info.filename}: expected at most {limit} bytes, found {info.file_size}")


def _parse_manifest(content: memoryview) -> Manifest:
    class Head(msgspec.Struct):
        format: int

    try:
        head = decode_json(content, Head)  # first, so that a later format is named and not half understood
        if head.format != FORMAT:
            raise BundleError(f"format: expected {FORMAT}, found {head.format}; update robot_dreamer on this side")
        return decode_json(content, Manifest)
    except msgspec.DecodeError as error:
        raise BundleError(f"{MANIFEST}: {error}") from error


def _read_npz(content: memoryview) -> dict[str, NDArray[Any]]:
    """numpy's own reader allocates what the header says; this one first compares it with the bytes that are there."""
    arrays = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for info in archive.infolist():
                _check_member(info, _LIMITS[RECORDING])
                arrays[info.filename.removesuffix(".npy")] = _read_npy(archive.read(info))
    except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError) as error:
        raise BundleError(f"{RECORDING}: {error}") from error
    return arrays


def _read_npy(content: bytes) -> NDArray[Any]:
    """numpy's own reader evaluates the header as Python; this one knows the one form that numpy writes."""
    magic, size = content[:8], int.from_bytes(content[8:10], "little")
    if magic != b"\x93NUMPY\x01\x00":
        raise ValueError("expected npy version 1.0")
    header = _NPY_HEADER.fullmatch(content[10 : 10 + size])
    if header is None:
        raise ValueError(f"expected the header of a C-ordered array of numbers, found {content[10:90]!r}")
    dtype, shape = np.dtype(header[1].decode()), tuple(int(x) for x in header[2].split(b",") if x.strip())
    body = content[10 + size :]
    expected = math.prod(shape) * dtype.itemsize
    if len(body) != expected:
        raise ValueError(f"expected {expected} bytes for {dtype}{list(shape)}, found {len(body)}")
    return np.frombuffer(body, dtype).reshape(shape)
