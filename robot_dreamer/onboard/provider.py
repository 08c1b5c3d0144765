"""Which execution provider of ONNX Runtime runs a policy: the CPU, CUDA or TensorRT, with a way back to the CPU."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    import onnxruntime

Provider = Literal["cpu", "cuda", "tensorrt"]
PROVIDERS: tuple[str, ...] = get_args(Provider)
_CPU = "CPUExecutionProvider"
_INT8_SINCE = (1, 22)  # of ONNX Runtime: MatMulNBits with 8 bits
_NAMES = {"cpu": _CPU, "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}

Options = list[tuple[str, dict[str, str]]]


@dataclass(frozen=True)
class Attempt:
    """One way to run a model.

    Attributes:
      name: for people.
      device: where inputs and outputs live, "cpu" or "cuda".
      captured: each step is one captured CUDA graph; all buffers keep their addresses anyway.
      providers: of ONNX Runtime, in order of preference, with their options.
    """

    name: str
    device: Literal["cpu", "cuda"]
    captured: bool
    providers: Options


def attempts(provider: str, weights: str) -> list[Attempt]:
    """The ways to run a model with `weights` (see Manifest) on `provider`, best first; the last one is the CPU.

    TF32 is off: its 10 bits of mantissa would fail the verification of a float32 model. Use float16 weights for speed.
    """
    if provider not in PROVIDERS:
        raise ValueError(f"provider: expected one of {', '.join(PROVIDERS)}, found {provider!r}")
    cpu = Attempt("cpu", "cpu", False, [(_CPU, {})])
    cuda = {"device_id": "0", "use_tf32": "0", "arena_extend_strategy": "kSameAsRequested"}
    plain: Options = [(_NAMES["cuda"], cuda), (_CPU, {})]
    captured: Options = [(_NAMES["cuda"], cuda | {"enable_cuda_graph": "1"}), (_CPU, {})]
    if provider == "cuda":
        return [
            Attempt("cuda, captured graph", "cuda", True, captured),
            Attempt("cuda", "cuda", False, plain),
            cpu,
        ]
    if provider == "tensorrt":
        trt = {"device_id": "0", "trt_fp16_enable": "1" if weights == "float16" else "0"}
        return [Attempt("tensorrt", "cuda", False, [(_NAMES["tensorrt"], trt), *plain]), cpu]
    return [cpu]


def open_session(
    model: bytes | memoryview, weights: str, threads: int, provider: str
) -> tuple[onnxruntime.InferenceSession, Attempt, str]:
    """A session, how it runs, and why not as asked (empty if it does).

    Args:
      model: an ONNX file's content.
      weights: see Manifest.
      threads: of ONNX Runtime within one step; they sleep between steps.
      provider: one of PROVIDERS.

    Raises:
      Exception: even the CPU cannot run it; onnxruntime's exceptions share no other base class.
    """
    import onnxruntime  # here: settings, which every program reads, only name the providers

    version = onnxruntime.__version__
    if weights == "int8" and tuple(int(x) for x in version.split(".")[:2]) < _INT8_SINCE:
        needed = ".".join(str(x) for x in _INT8_SINCE)
        raise RuntimeError(
            f"int8 weights need ONNX Runtime {needed} or later, this is {version}; or take float32 weights"
        )
    ways = attempts(provider, weights)
    wanted, available = _NAMES[provider], onnxruntime.get_available_providers()
    if wanted not in available:
        ways = ways[-1:]
        missing = f"this onnxruntime {version} has only {', '.join(available)}; "
        missing += "install onnxruntime-gpu in place of onnxruntime"
    else:
        missing = ""
    reasons = [missing] if missing else []
    with _InMemory(model) as path:
        for way in ways:
            last = way is ways[-1]
            try:
                session = onnxruntime.InferenceSession(
                    path, _session_options(threads), providers=way.providers, enable_fallback=0
                )
            except Exception as error:
                if last:
                    raise
                reasons.append(f"{way.name}: {error}")
                continue
            if way.providers[0][0] in session.get_providers():
                break
            reasons.append(
                f"{way.name}: ONNX Runtime could not load it; are the libraries of CUDA (and TensorRT) there?"
            )
    why = f"provider {provider} asked for, runs on {way.name}: {'; '.join(reasons)}" if reasons else ""
    return session, way, why


def _session_options(threads: int) -> onnxruntime.SessionOptions:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # a robot has other work to do
    options.log_severity_level = 3
    return options


class _InMemory:
    """The bytes of a model as a file without a disk, by path.

    Given bytes, ONNX Runtime's Python binding copies and parses them under the interpreter's lock: the control loop
    would stand still, measured 20 to 100 ms for 33 MB. Given a path, it reads without the lock.
    """

    def __init__(self, model: bytes | memoryview) -> None:
        self._file = os.memfd_create("policy.onnx")
        rest = memoryview(model)
        while rest:
            rest = rest[os.write(self._file, rest) :]

    def __enter__(self) -> str:
        return f"/proc/self/fd/{self._file}"

    def __exit__(self, *_: Any) -> None:
        os.close(self._file)
