"""The Triton model repository: by Triton's own schema, and with the answers of the artifact."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import faceproof
from faceproof.artifact.artifact import read_card, read_file
from faceproof.artifact.onnx import OnnxNetwork
from faceproof.cli.main import main
from faceproof.data.image_io import read_image
from faceproof.data.model_input import fit_image, fit_of, to_unit
from faceproof.errors import FaceproofError
from faceproof.models.detector import ImageInput
from faceproof.workflows.export import ExportConfig, export, export_run
from faceproof.workflows.export_triton import about_input, describe, write_repository
from tests.conftest import write_images
from tests.small_runs import write_ensemble, write_run

pytestmark = pytest.mark.onnx_export
onnxruntime = pytest.importorskip("onnxruntime", reason="takes faceproof[onnx]")
onnx = pytest.importorskip("onnx", reason="takes faceproof[onnx]")
SCHEMA = Path(__file__).with_name("triton_model_config.txtpb")
TYPES = {"tensor(float)": "TYPE_FP32"}  # of ONNX Runtime


@pytest.fixture(scope="module")
def read_config():
    """What reads a config.pbtxt by Triton's schema, strictly."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

    described = text_format.Parse(SCHEMA.read_text("utf-8"), descriptor_pb2.FileDescriptorProto())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(described)
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName("inference.ModelConfig"))
    return lambda file: text_format.Parse(file.read_text("utf-8"), kind())


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    export_run(write_run(folder / "run", gain=40.0), folder / "artifact", onnx=True)
    return folder / "artifact"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    names = [f"{number}.jpg" for number in range(5)]
    return write_images(folder, names) + write_images(folder / "faces", names, face=True)


def ends_by_config(tensors, batch, kinds):
    """Name, type and shape of inputs or outputs as Triton asks the model for them."""
    found = []
    for one in tensors:
        dims = one.reshape.shape if one.HasField("reshape") else one.dims
        kind = kinds.values_by_number[one.data_type].name
        found.append((one.name, kind, [batch, *dims]))
    return found


def ends_by_session(ends):
    return [
        (one.name, TYPES[one.type], [None if isinstance(n, str) else n for n in one.shape])
        for one in ends
    ]


def check(folder, read_config):
    """Hold a model's folder to the rules of a repository; return its configuration and session."""
    config = read_config(folder / "config.pbtxt")
    assert config.name == folder.name
    assert config.backend == "onnxruntime"
    assert [one.name for one in folder.iterdir() if one.is_dir()] == ["1"]
    assert [one.name for one in (folder / "1").iterdir()] == ["model.onnx"]
    session = onnxruntime.InferenceSession(
        folder / "1/model.onnx", providers=["CPUExecutionProvider"]
    )
    assert config.max_batch_size > 1
    kinds = config.DESCRIPTOR.file.enum_types_by_name["DataType"]
    assert ends_by_config(config.input, None, kinds) == ends_by_session(session.get_inputs())
    assert ends_by_config(config.output, None, kinds) == ends_by_session(session.get_outputs())
    assert config.HasField("dynamic_batching")
    assert 0 < config.dynamic_batching.max_queue_delay_microseconds < 1_000_000
    for one in (*config.input, *config.output):
        assert all(size > 0 for size in one.dims)  # an empty shape is refused by Triton
    return config, session


def test_the_configuration_is_that_of_the_model_and_gives_the_artifacts_scores(
    artifact, images, tmp_path, read_config
):
    write_repository(artifact, tmp_path / "models")
    card = read_card(artifact)
    (folder,) = [one for one in (tmp_path / "models").iterdir() if one.is_dir()]
    assert folder.name == card.name
    config, session = check(folder, read_config)
    detector = faceproof.load(artifact, "cpu")
    wanted = [detector(path).logit for path in images]
    (entry,) = card.networks
    fitted = np.stack(
        [
            to_unit(fit_image(read_image(path), *fit_of(entry.input))[None]).numpy()[0]
            for path in images
        ]
    )
    # As many as the configuration allows, and one alone.
    times = -(-config.max_batch_size // len(images))
    most = np.concatenate([fitted] * times)[: config.max_batch_size]
    for batch in (most, fitted[:1]):
        assert batch.shape[1:] == tuple(config.input[0].dims)
        (found,) = session.run([config.output[0].name], {config.input[0].name: batch})
        assert found.shape == (len(batch),)
        expected = (wanted * times)[: len(batch)]
        assert found.tolist() == pytest.approx(expected, abs=1e-4)
    assert json.loads((folder / "card.json").read_text()) == card.to_json()


def test_the_comments_say_what_the_input_and_the_output_are(artifact, tmp_path):
    write_repository(artifact, tmp_path / "models")
    (config,) = (tmp_path / "models").glob("*/config.pbtxt")
    said = " ".join(line for line in config.read_text().splitlines() if line.startswith("#"))
    for words in ("RGB", "from 0 to 1", "16 x 16", "bilinear", "larger for fake", "card.json"):
        assert words in said
    readme = (tmp_path / "models/README.md").read_text()
    assert "sigmoid(logit / 0.5)" in readme
    assert "From 0.5 on an image is called fake" in readme


def test_a_cascade_of_an_ensemble_is_a_model_for_each_network(tmp_path, read_config, images):
    ensemble = write_ensemble(tmp_path / "ensemble")
    gate = write_run(tmp_path / "gate", "face", 3, 20, gain=40.0)
    to = tmp_path / "models"
    export(ExportConfig(to=to, gate=gate, detector=ensemble, triton=True))
    folders = sorted(one for one in to.iterdir() if one.is_dir())
    assert [one.name for one in folders] == [
        "ensemble_of_two-detector-1", "ensemble_of_two-detector-2", "face_cnn-gate",
    ]  # fmt: skip
    sizes = {folder.name: list(check(folder, read_config)[0].input[0].dims) for folder in folders}
    assert list(sizes.values()) == [[3, 16, 16], [3, 20, 20], [3, 20, 20]]
    assert "Ask the gate first" in (to / "README.md").read_text()


def test_a_network_that_knows_novelty_has_two_outputs(artifact):
    card = read_card(artifact)
    (network,) = card.networks
    model = onnx.load_model_from_string(read_file(artifact, network.onnx))
    second = onnx.ValueInfoProto()
    second.CopyFrom(model.graph.output[0])
    second.name = "novelty"
    model.graph.output.append(second)
    text = describe("a", card.detector, network, model.SerializeToString())
    assert re.findall(r'name: "(\w+)", ', text) == ["images", "logit", "novelty"]
    assert "# novelty: how unlike the training images" in text


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, ["Resize the whole image to 64 x 64"]),
        ({"mode": "crop"}, ["Cut out the middle of 64 x 64"]),
        ({"mode": "crop", "resize_to": 80}, ["shorter side is 80", "Cut out the middle"]),
        ({"mode": "tiles", "tiles": 5}, ["5 squares (the middle and the four corners)"]),
        (
            {"mode": "tiles", "tiles": 9, "tta": "flip"},
            ["9 squares (an even grid)", "mirror image"],
        ),
    ],
)
def test_what_a_client_must_do_to_an_image_is_said(artifact, settings, words):
    card = read_card(artifact)
    (network,) = card.networks
    input = ImageInput(64, (0.5,) * 3, (0.5,) * 3, "bicubic", **settings)
    said = " ".join(about_input(card.detector, replace(network, input=input)))
    for word in words:
        assert word in said


def test_a_batch_of_a_fixed_size_is_refused(artifact, tmp_path):
    card = read_card(artifact)
    (network,) = card.networks
    model = onnx.load_model_from_string(read_file(artifact, network.onnx))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    with pytest.raises(FaceproofError, match=r"takes .*\(1, 3, 16, 16\).*by the card"):
        OnnxNetwork(model.SerializeToString(), network.input)


def test_an_artifact_without_onnx_and_a_folder_of_others_are_refused(artifact, tmp_path, capsys):
    run = write_run(tmp_path / "run")
    export_run(run, tmp_path / "plain")
    with pytest.raises(FaceproofError, match="without ONNX, which Triton runs"):
        write_repository(tmp_path / "plain", tmp_path / "models")
    assert not (tmp_path / "models").exists()
    with pytest.raises(FaceproofError, match="--web and --triton make different folders"):
        ExportConfig(artifact, to=tmp_path / "x", web=True, triton=True)
    to = tmp_path / "models"
    words = ["export", str(artifact), "--to", str(to), "--triton"]
    assert main(words) == 0
    assert f"tritonserver --model-repository={to}" in capsys.readouterr().out
    assert main(words) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*words, "--overwrite"]) == 0
    other = to / "another/config.pbtxt"
    other.parent.mkdir()
    other.write_text('name: "another"\n')
    assert main([*words, "--overwrite"]) == 2
    assert "was not written by faceproof export --triton" in capsys.readouterr().err
    assert other.is_file()


def test_the_schema_is_that_of_the_package():
    package = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason="takes tritonclient")
    from google.protobuf import descriptor_pb2, text_format

    found = descriptor_pb2.FileDescriptorProto()
    package.DESCRIPTOR.CopyToProto(found)
    stored = text_format.Parse(SCHEMA.read_text("utf-8"), descriptor_pb2.FileDescriptorProto())
    assert stored == found
