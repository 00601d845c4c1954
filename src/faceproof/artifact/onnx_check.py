"""Checks an ONNX model before anything runs it: only graphs like those of our exporter pass.

A model may come from a stranger. ONNX can hold loops without an end, code of others' libraries,
paths to other files, and 280 bytes that stand for gigabytes. So the operators are a list, nothing
is nested, and the shape of every value is worked out for one image, without computing any, and
bounded.
"""

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from faceproof.errors import FaceproofError

if TYPE_CHECKING:
    import onnx

INPUT, OUTPUT, NOVELTY = "images", "logit", "novelty"
MAX_NODES = 20_000
MAX_ELEMENTS = 2**28  # of one value, for one image: 1 GB
MAX_WORK = 2e12  # multiplications for one image; the largest networks of timm take a third of it
SMALL = 1000  # elements; larger constants cannot be shapes
# What PyTorch's exporter writes for timm's networks and ours. Not in it: control flow (If, Loop,
# Scan), sequences, random numbers, strings, and what only other domains have.
OPERATORS = frozenset(
    (
        "Abs", "Add", "And", "ArgMax", "AveragePool", "BatchNormalization", "Cast",
        "CastLike", "Ceil", "Celu", "Clip", "Concat", "Constant", "ConstantOfShape", "Conv",
        "ConvTranspose", "Cos", "DepthToSpace", "Div", "Dropout", "Elu", "Equal", "Erf",
        "Exp", "Expand", "Flatten", "Floor", "Gather", "GatherElements", "GatherND", "Gelu",
        "Gemm", "GlobalAveragePool", "GlobalMaxPool", "Greater", "GreaterOrEqual",
        "GroupNormalization", "HardSigmoid", "HardSwish", "Identity",
        "InstanceNormalization", "LayerNormalization", "LeakyRelu", "Less", "LessOrEqual",
        "Log", "LogSoftmax", "LpNormalization", "MatMul", "Max", "MaxPool", "Mean", "Min",
        "Mish", "Mod", "Mul", "Neg", "Not", "Or", "PRelu", "Pad", "Pow", "RMSNormalization",
        "Range", "Reciprocal", "ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean",
        "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Relu", "Reshape",
        "Resize", "Round", "ScatterElements", "ScatterND", "Selu", "Shape", "Sigmoid",
        "Sign", "Sin", "Size", "Slice", "Softmax", "Softplus", "Softsign", "SpaceToDepth",
        "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Swish", "Tanh", "ThresholdedRelu",
        "Tile", "Transpose", "Trilu", "Unsqueeze", "Where", "Xor",
    )
)  # fmt: skip
DOMAINS = ("", "ai.onnx")
# Of values, and bytes of each element.
KINDS = {"FLOAT": 4, "FLOAT16": 2, "DOUBLE": 8, "INT64": 8, "INT32": 4, "BOOL": 1, "UINT8": 1}
ATTRIBUTES = ("FLOAT", "INT", "STRING", "TENSOR", "FLOATS", "INTS", "STRINGS")

Shape = tuple[int, ...]
End = tuple[str, str, tuple[int | None, ...]]


def check_model(data: bytes, side: int, with_novelty: bool = False, num_passes: int = 1) -> None:
    """Refuse an ONNX model that is not of the kind that `to_onnx` writes.

    `side` is that of the images, (B, 3, S, S), by the card, and `with_novelty` whether the model
    gives their novelty too. An image is judged by `num_passes` crops and mirror images.

    Raises:
        FaceproofError: it is no ONNX, has other inputs or outputs, holds what is not allowed, or
            would take too much time or memory.
    """
    import onnx

    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's exceptions have no base but this
        raise FaceproofError(f"the ONNX model cannot be read: {error}") from error
    _check_parts(model)
    _check_ends(model.graph, side, with_novelty)
    shapes = _infer_shapes(model)
    _check_work(model.graph, shapes, num_passes)


def _refuse(what: str) -> FaceproofError:
    return FaceproofError(
        f"the ONNX model {what}, which none of ours does; take the backend torch, or export the "
        "detector again"
    )


def _check_parts(model: "onnx.ModelProto") -> None:
    graph = model.graph
    if model.functions or model.training_info or graph.sparse_initializer:
        raise _refuse("holds functions, training or sparse values")
    if odd := [one.domain for one in model.opset_import if one.domain not in DOMAINS]:
        raise _refuse(f"uses the domain {odd[0]!r}")
    if len(graph.node) > MAX_NODES:
        raise _refuse(f"has {len(graph.node):,} nodes, more than {MAX_NODES:,}")
    for tensor in graph.initializer:
        _check_tensor(tensor)
    for node in graph.node:
        if node.domain not in DOMAINS or node.op_type not in OPERATORS:
            raise _refuse(f"uses the operator {node.domain or 'ai.onnx'}:{node.op_type}")
        for attribute in node.attribute:
            kind = attribute.AttributeType.Name(attribute.type)
            if kind not in ATTRIBUTES or attribute.ref_attr_name:
                raise _refuse(f"has a {kind} inside of {node.op_type}")
            if kind == "TENSOR":
                _check_tensor(attribute.t)


def _check_tensor(tensor: "onnx.TensorProto") -> None:
    """Refuse a constant that lies elsewhere, or whose bytes are not those of its shape."""
    if tensor.data_location or tensor.external_data or tensor.HasField("segment"):
        raise _refuse(f"keeps {tensor.name!r} in another file")
    kind = tensor.DataType.Name(tensor.data_type)
    if kind not in KINDS or any(size < 0 for size in tensor.dims):
        raise _refuse(f"has constants of the kind {kind}")
    lists = (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data)
    stored = len(tensor.raw_data) // KINDS[kind] if tensor.raw_data else sum(map(len, lists))
    if stored != math.prod(tensor.dims):
        raise _refuse(f"says {tuple(tensor.dims)} of {tensor.name!r}, and stores {stored} numbers")


def _check_ends(graph: "onnx.GraphProto", side: int, with_novelty: bool) -> None:
    """Refuse other inputs and outputs than those of the card's network."""
    taken, given = read_ends(graph)
    outputs = (OUTPUT, NOVELTY) if with_novelty else (OUTPUT,)
    wanted = (
        [(INPUT, "FLOAT", (None, 3, side, side))],
        [(name, "FLOAT", (None,)) for name in outputs],
    )
    if (taken, given) != wanted:
        raise FaceproofError(
            f"the ONNX model takes {taken} and gives {given}; by the card it takes {wanted[0]} and "
            f"gives {wanted[1]}"
        )


def read_ends(graph: "onnx.GraphProto") -> tuple[list[End], list[End]]:
    """Return the inputs and the outputs of a graph: name, kind, and sizes, None where they vary."""
    inside = {tensor.name for tensor in graph.initializer}
    taken = [_told(one) for one in graph.input if one.name not in inside]
    return taken, [_told(one) for one in graph.output]


def _told(value: "onnx.ValueInfoProto") -> End:
    kind = value.type.tensor_type
    sizes = tuple(one.dim_value if one.HasField("dim_value") else None for one in kind.shape.dim)
    import onnx

    return value.name, onnx.TensorProto.DataType.Name(kind.elem_type), sizes


def _infer_shapes(model: "onnx.ModelProto") -> Mapping[str, Shape]:
    """Work out the shape of every value for one image, computing none.

    What the file itself says of shapes is not believed. Large constants become inputs, so that
    their bytes are not copied.
    """
    import onnx
    from onnx import helper, shape_inference

    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[:1] and node.attribute[0].HasField("t"):
            constants[node.output[0]] = node.attribute[0].t
    small, inputs = [], []
    for name, tensor in constants.items():
        if math.prod(tensor.dims) <= SMALL:
            copy = onnx.TensorProto()
            copy.CopyFrom(tensor)
            copy.name = name
            small.append(copy)
        else:
            inputs.append(helper.make_tensor_value_info(name, tensor.data_type, tensor.dims))
    image = next(one for one in graph.input if one.name == INPUT).type.tensor_type
    sizes = [1, *(one.dim_value for one in image.shape.dim[1:])]
    inputs.append(helper.make_tensor_value_info(INPUT, image.elem_type, sizes))
    nodes = [node for node in graph.node if not set(node.output) & set(constants)]
    ends = [
        helper.make_tensor_value_info(output.name, output.type.tensor_type.elem_type, None)
        for output in graph.output
    ]
    light = helper.make_model(
        helper.make_graph(nodes, "checked", inputs, ends, small), opset_imports=model.opset_import
    )
    try:
        inferred = shape_inference.infer_shapes(light, strict_mode=True, data_prop=True).graph
    except Exception as error:  # of many kinds, with no base but this
        reason = str(error).strip().splitlines()[0]
        raise FaceproofError(f"the shapes in the ONNX model are no such: {reason}") from error
    found = {name: tuple(tensor.dims) for name, tensor in constants.items()}
    for value in [*inferred.input, *inferred.value_info, *inferred.output]:
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dims):
            found[value.name] = tuple(one.dim_value for one in dims)
    return found


def _check_work(graph: "onnx.GraphProto", shapes: Mapping[str, Shape], num_passes: int) -> None:
    work = 0.0
    for node in graph.node:
        for name in filter(None, node.output):
            if name not in shapes:
                raise _refuse(f"gives a value of {node.op_type} whose size depends on the image")
            if math.prod(shapes[name]) > MAX_ELEMENTS:
                size = f"{' x '.join(map(str, shapes[name]))} numbers for one image"
                raise _refuse(f"gives {size} by {node.op_type}, more than {MAX_ELEMENTS:,}")
        work += _work(node, shapes) * num_passes
    if work > MAX_WORK:
        raise _refuse(f"takes {work:.1e} multiplications for one image, more than {MAX_WORK:.0e}")


def _work(node: "onnx.NodeProto", shapes: Mapping[str, Shape]) -> float:
    """Return about how many multiplications a node takes."""
    given = _elements(node.output, shapes)
    taken = _elements(node.input, shapes)
    if node.op_type in ("Conv", "ConvTranspose"):
        weight = math.prod(shapes[node.input[1]][1:])
        return float(weight * (given if node.op_type == "Conv" else taken))
    if node.op_type in ("MatMul", "Gemm"):
        first = shapes[node.input[0]]
        transposed = any(one.name == "transA" and one.i for one in node.attribute)
        return float(given * (first[0] if transposed else first[-1]))
    kernels: list[Any] = [one.ints for one in node.attribute if one.name == "kernel_shape"]
    return float(taken + given * math.prod(kernels[0] if kernels else ()))


def _elements(names: Iterable[str], shapes: Mapping[str, Shape]) -> int:
    return sum(math.prod(shapes[name]) for name in names if name)
