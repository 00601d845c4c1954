"""Only ONNX models like those that are exported here come to ONNX Runtime."""

import itertools

import numpy as np
import pytest
import torch

from faceproof.data.model_input import to_unit
from faceproof.errors import FaceproofError
from faceproof.models import InputConfig
from faceproof.models.backbones import BACKBONES
from faceproof.models.build import ModelConfig, build_network
from faceproof.models.comparing import middle_layer
from faceproof.models.heads import HEADS
from faceproof.models.novelty import DetectorWithNovelty, FeatureNetwork, fit_novelty
from tests.small_networks import PLAIN, small

pytest.importorskip("onnx", reason="takes faceproof[onnx]")
pytest.importorskip("onnxruntime", reason="takes faceproof[onnx]")

import onnx
from onnx import TensorProto, helper, numpy_helper

from faceproof.artifact import onnx_check
from faceproof.artifact.onnx import OnnxNetwork, to_onnx
from faceproof.artifact.onnx_check import check_model

SIDE = 16


def value(name, *sizes, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, sizes)


def constant(name, *numbers, kind=np.int64):
    return numpy_helper.from_array(np.array(numbers, kind), name)


def model(*nodes, constants=(), taken=None, given=None, **more):
    """Return a model of these nodes between `images` and `x`, of which the logit is the mean."""
    last = helper.make_node("ReduceMean", ["x", "axes"], ["logit"], keepdims=0)
    graph = helper.make_graph(
        [*nodes, last],
        "graph",
        [taken or value("images", "B", 3, SIDE, SIDE)],
        [given or value("logit", "B")],
        [*constants, constant("axes", 1, 2, 3)],
    )
    more.setdefault("opset_imports", [helper.make_opsetid("", 20)])
    return helper.make_model(graph, **more)


def node(kind, *given, out="x", **attributes):
    return helper.make_node(kind, given, [out], **attributes)


def body(name="body"):
    inside = [helper.make_node("Identity", ["go"], ["on"])]
    inside.append(helper.make_node("Identity", ["state"], ["then"]))
    return helper.make_graph(
        inside,
        name,
        [
            value("number", kind=TensorProto.INT64),
            value("go", kind=TensorProto.BOOL),
            value("state", None, None, None, None),
        ],
        [value("on", kind=TensorProto.BOOL), value("then", None, None, None, None)],
    )


def endless():
    return model(
        node("Loop", "most", "yes", "images", body=body()),
        constants=[constant("most", 2**62), constant("yes", True, kind=np.bool_)],
    )


def of_big(*nodes, **more):
    """Return a model that adds the mean of the value `big` to an image."""
    end = node("ReduceMean", "big", out="one", keepdims=0)
    return model(*nodes, end, node("Add", "images", "one"), **more)


def outside():
    lies = constant("big", *range(3), kind=np.float32)
    onnx.external_data_helper.set_external_data(lies, "/etc/passwd")
    lies.ClearField("raw_data")
    return model(node("Identity", "images"), constants=[lies])


def claims():
    lies = constant("big", 1.0, kind=np.float32)
    lies.dims[:] = [2**20, 2**10]
    return of_big(constants=[lies])


def with_function():
    made = model(node("Identity", "images"))
    function = helper.make_function(
        "own", "F", ["a"], ["b"], [helper.make_node("Identity", ["a"], ["b"])],
        [helper.make_opsetid("", 20)],
    )  # fmt: skip
    made.functions.append(function)
    return made


def doubling(times=30):
    names = ["images", *(f"v{number}" for number in range(times - 1)), "x"]
    pairs = itertools.pairwise(names)
    return model(*(node("Concat", name, name, out=out, axis=1) for name, out in pairs))


def long_chain():
    """Return small convolutions one after another, which would take hours."""
    names = ["images", *(f"v{number}" for number in range(6000)), "x"]
    pairs = itertools.pairwise(names)
    weight = numpy_helper.from_array(np.zeros((3, 3, 501, 501), np.float32), "w")
    sides = [250] * 4
    return model(
        *(node("Conv", name, "w", out=out, pads=sides) for name, out in pairs), constants=[weight]
    )


BIG = 2**20
HOSTILE = {
    "loop": (endless, "the operator ai.onnx:Loop"),
    "branch": (
        lambda: model(node("If", "yes", then_branch=body(), else_branch=body()),
                      constants=[constant("yes", True, kind=np.bool_)]),
        "the operator ai.onnx:If",
    ),
    "nested graph in a plain operator": (
        lambda: model(node("Identity", "images", body=body())), "a GRAPH inside of Identity",
    ),
    "random numbers": (
        lambda: of_big(node("RandomNormal", out="big", shape=[1])), "ai.onnx:RandomNormal",
    ),
    "another domain": (
        lambda: model(node("Gelu", "images", domain="com.microsoft")), "com.microsoft:Gelu",
    ),
    "another domain is named": (
        lambda: model(node("Identity", "images"), opset_imports=[
            helper.make_opsetid("", 20), helper.make_opsetid("com.evil", 1)]),
        "the domain 'com.evil'",
    ),
    "function": (with_function, "holds functions"),
    "data in another file": (outside, "keeps 'big' in another file"),
    "constant that is larger than stored": (claims, "stores 1 numbers"),
    "ConstantOfShape": (
        lambda: of_big(node("ConstantOfShape", "shape", out="big"),
                       constants=[constant("shape", BIG, BIG, 1, 1)]),
        "by ConstantOfShape, more than",
    ),
    "Expand": (
        lambda: of_big(node("Expand", "first", "shape", out="big"),
                       constants=[constant("first", 1.0, kind=np.float32),
                                  constant("shape", BIG, BIG, 1, 1)]),
        "by Expand, more than",
    ),
    "Tile": (
        lambda: model(node("Tile", "images", "times"),
                      constants=[constant("times", 1, BIG, BIG, 1)]),
        "by Tile, more than",
    ),
    "Pad": (
        lambda: model(node("Pad", "images", "pads"),
                      constants=[constant("pads", *[0] * 4, 0, 0, BIG, BIG)]),
        "by Pad, more than",
    ),
    "Resize": (
        lambda: model(node("Resize", "images", "", "", "sizes"),
                      constants=[constant("sizes", 1, 3, BIG, BIG)]),
        "by Resize, more than",
    ),
    "Range": (
        lambda: of_big(node("Range", "from", "to", "step", out="big"),
                       constants=[numpy_helper.from_array(np.array(number), name) for name, number
                                  in (("from", 0), ("to", 2**40), ("step", 1))]),
        "by Range, more than|depends on the image|no such",
    ),
    "convolution with padding": (
        lambda: model(node("Conv", "images", "w", pads=[BIG] * 4),
                      constants=[numpy_helper.from_array(np.zeros((1, 3, 1, 1), np.float32), "w")]),
        "by Conv, more than",
    ),
    "concatenations that double": (doubling, "by Concat, more than"),
    "outer product": (
        lambda: of_big(
            node("MatMul", "column", "row", out="big"),
            constants=[numpy_helper.from_array(np.zeros((BIG, 1), np.float32), "column"),
                       numpy_helper.from_array(np.zeros((1, BIG), np.float32), "row")],
        ),
        "by MatMul, more than",
    ),
    "size that depends on pixels": (
        lambda: of_big(
            node("Cast", "images", out="numbers", to=TensorProto.INT64),
            node("Reshape", "numbers", "flat", out="shape"),
            node("ConstantOfShape", "shape", out="big"),
            constants=[constant("flat", -1)],
        ),
        "whose size depends on the image|more than|no such",
    ),
    "very many nodes": (lambda: doubling(20_001), "20,002 nodes, more than 20,000"),
    "work for hours": (long_chain, "multiplications for one image, more than"),
    "another input": (
        lambda: model(node("Identity", "images"), taken=value("images", "B", 3, 99, 99)),
        r"takes .*99.*; by the card it takes .*16",
    ),
    "an input of a fixed batch": (
        lambda: model(node("Identity", "images"), taken=value("images", 8, 3, SIDE, SIDE)),
        "by the card it takes",
    ),
    "another output": (
        lambda: model(node("Identity", "images"), given=value("logit", "B", 7)),
        "by the card it takes",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_model_of_a_stranger_is_refused_before_it_is_run(name, monkeypatch):
    make, reason = HOSTILE[name]
    data = make().SerializeToString()
    runtime = pytest.importorskip("onnxruntime")
    monkeypatch.setattr(
        runtime, "InferenceSession", lambda *_, **__: pytest.fail("ONNX Runtime has got it")
    )
    with pytest.raises(FaceproofError, match=reason):
        OnnxNetwork(data, PLAIN)


@pytest.mark.parametrize("data", [b"", b"\x08", b"no onnx at all", b"\xff" * 1000])
def test_what_is_no_onnx_is_refused(data):
    with pytest.raises(FaceproofError, match="the ONNX model"):
        check_model(data, SIDE)


def test_graphs_within_graphs_within_graphs_are_refused():
    nested = body()
    for number in range(20):
        outer = helper.make_graph([], f"g{number}", [], [])
        outer.node.add(op_type="Identity").attribute.add(name="body", type=5).g.CopyFrom(nested)
        nested = outer
    made = model(node("Identity", "images", body=nested))
    with pytest.raises(FaceproofError, match="a GRAPH inside of Identity"):
        check_model(made.SerializeToString(), SIDE)


def test_what_the_file_says_of_shapes_is_not_believed():
    made = HOSTILE["Tile"][0]()
    made.graph.value_info.append(value("x", 1, 3, SIDE, SIDE))
    with pytest.raises(FaceproofError, match="by Tile, more than"):
        check_model(made.SerializeToString(), SIDE)


def test_the_work_of_all_crops_of_an_image_counts(monkeypatch):
    """A card of a stranger's may name 25 tiles and their mirror images."""
    data = model(node("Identity", "images")).SerializeToString()
    monkeypatch.setattr(onnx_check, "MAX_WORK", 20 * 3 * SIDE**2)
    check_model(data, SIDE)
    with pytest.raises(FaceproofError, match="multiplications for one image, more than"):
        check_model(data, SIDE, num_passes=50)


@pytest.mark.onnx_export
def test_a_model_of_ours_passes_and_gives_what_the_network_gives():
    net = small(0)
    images = torch.randint(0, 256, (3, 3, SIDE, SIDE), dtype=torch.uint8)
    found = OnnxNetwork(to_onnx(net), net.input)(images)
    assert found.shape == (3,)


# Each backbone and head of ours, and the families of timm that conf/model names, at their smallest.
# All files of conf/model were exported once at 64 pixels, in four minutes.
KINDS = {
    "face_cnn": ({"name": "face_cnn"}, {"name": "hidden", "num_hidden": 4}, SIDE),
    "cnn3": ({"name": "cnn3"}, {"name": "linear"}, 32),
    "resnet": (
        {"name": "timm", "model": "test_resnet", "pooled": False},
        {"name": "conv_tail", "widths": (4, 4), "num_hidden": 4},
        64,
    ),
    "efficientnet": (
        {"name": "timm", "model": "test_efficientnet", "pooled": False},
        {"name": "squeeze_excite"},
        64,
    ),
    "vit": ({"name": "timm", "model": "test_vit", "img_size": 32}, {"name": "linear"}, 32),
}


@pytest.mark.onnx_export
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_model_that_is_exported_is_loaded(kind):
    backbone, head, size = KINDS[kind]
    pixels = {"size": size, "mean": (0, 0, 0), "std": (1, 1, 1), "interpolation": "bilinear"}
    net = build_network(ModelConfig(backbone, head, InputConfig(**pixels))).eval()
    images = torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8)
    found = OnnxNetwork(to_onnx(net), net.input)(images)
    with torch.no_grad():
        expected = net(to_unit(images)).numpy()
    assert found == pytest.approx(expected, abs=1e-3)


@pytest.mark.onnx_export
@pytest.mark.parametrize("middle", [True, False])
@pytest.mark.parametrize("kind", ["resnet", "vit"])
def test_a_model_that_knows_novelty_gives_both(kind, middle):
    """Of maps and of tokens, in the middle and at the end."""
    backbone, head, size = KINDS[kind]
    pixels = {"size": size, "mean": (0, 0, 0), "std": (1, 1, 1), "interpolation": "bilinear"}
    net = build_network(ModelConfig(backbone, head, InputConfig(**pixels))).eval()
    images = torch.randint(0, 256, (12, 3, size, size), dtype=torch.uint8)
    with torch.no_grad():
        layer = middle_layer(net) if middle else None
        assert (layer is not None) == middle
        features = FeatureNetwork(net, layer)(to_unit(images)).numpy()
        novelty = fit_novelty(features, np.arange(12) % 2, layer=layer)
        whole = DetectorWithNovelty(net, novelty)
        expected = torch.stack(whole(to_unit(images)), 1).numpy()
    data = to_onnx(whole)
    assert OnnxNetwork(data, net.input, True)(images) == pytest.approx(expected, rel=1e-3, abs=1e-3)
    with pytest.raises(FaceproofError, match="by the card it takes"):
        OnnxNetwork(data, net.input)
    with pytest.raises(FaceproofError, match="by the card it takes"):
        OnnxNetwork(to_onnx(net), net.input, True)


def test_every_backbone_and_head_is_among_the_kinds():
    assert {backbone["name"] for backbone, _, _ in KINDS.values()} == set(BACKBONES)
    assert {head["name"] for _, head, _ in KINDS.values()} == set(HEADS)


@pytest.mark.onnx_export
def test_an_export_that_would_not_be_loaded_again_is_refused(monkeypatch):
    monkeypatch.setattr(onnx_check, "OPERATORS", onnx_check.OPERATORS - {"Conv"})
    with pytest.raises(FaceproofError, match=r"the operator ai\.onnx:Conv"):
        to_onnx(small(0))


def test_a_release_of_torch_that_cannot_export_is_named(monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.6.0+cpu")
    with pytest.raises(FaceproofError, match=r"takes PyTorch 2\.7 or newer, and this is 2\.6: "):
        to_onnx(small(0))
