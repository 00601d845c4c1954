"""The recipe of a training: whatever was chosen beside the plain one is told, in words."""

from typing import Any

import yaml

from faceproof.workflows.recipe import recipe, told

PLAIN = """
model: {name: resnet18, input: {size: null, mode: resize, resize_to: null, tta: none}}
optimizer: {name: adamw, lr: 0.001, backbone_lr: null, weight_decay: 0.01, options: {fused: true}}
scheduler: {name: cosine, warmup: 0.1, floor: 0.0, more_epochs: keep}
freeze: {stages: [{from_epoch: 0, train: all}]}
adapter: {name: none}
mix: {name: none}
distill: {name: none}
synthesis: {share: 0.0, kinds: [], faces: auto, autoencoder: null}
augment: {horizontal_flip: 0.5, same_in_pairs: true}
loss: {name: bce}
trainer: {max_epochs: 8}
loader: {batch_size: 16, sampler: shuffled, source_weights: null}
cache: {views: null}
ema: null
swa: null
class_weights: none
patience: null
seed: 7
"""
RECORD: dict[str, Any] = {"choices": {"augment": "flip"}, "input": {"size": 224, "mode": "resize"}}


def found(record: dict[str, Any] = RECORD, **changes: Any) -> dict[str, str]:
    config = yaml.safe_load(PLAIN)
    for name, value in changes.items():
        config[name] = {**config[name], **value} if isinstance(value, dict) else value
    return told(recipe(config, record))


def test_the_plain_recipe_tells_nothing_that_is_off() -> None:
    assert found() == {
        "input": "224 x 224 pixels, resize",
        "optimizer": "adamw, learning rate 0.001, weight decay 0.01, fused=True",
        "learning-rate schedule": "cosine, warmup=0.1",
        "batch size": "16",
        "loss": "bce",
        "augmentation": "flip (horizontal_flip=0.5)",
        "what trains when": "all from the start",
        "class weights": "none",
        "early stopping": "none",
        "seed": "7",
    }


def test_everything_that_was_chosen_is_told() -> None:
    record = {**RECORD, "input": {"size": 160}, "synthesis": "9 pseudo-fakes an epoch"}
    told = found(
        record,
        model={
            "input": {"mode": "tiles", "resize_to": 256, "tiles": 5, "tta": "flip"},
            "branch": {"name": "srm", "mode": "beside"},
        },
        optimizer={"layer_decay": 0.8, "sam_rho": 0.1},
        adapter={"name": "lora", "rank": 4, "layers": "attn"},
        mix={"name": "mixup", "alpha": 0.2},
        distill={"name": "soft_targets", "teacher": "runs/big", "weight": 0.5},
        synthesis={"share": 0.5, "kinds": ["reconstructed"], "autoencoder": "tiny.safetensors"},
        augment={"same_in_pairs": False},
        loss={"name": "label_smoothing", "smoothing": 0.05},
        trainer={"accumulate_grad_batches": 2, "gradient_clip_val": 1.0},
        loader={"sampler": "balanced", "source_weights": {"web": 2}},
        cache={"views": 4},
        ema=0.999,
    )
    assert told["input"] == "160 x 160 pixels, tiles, resize_to=256, tiles=5, tta=flip"
    assert told["input branch"] == "srm, mode=beside"
    assert "weight decay 0.01, layer_decay=0.8, sam_rho=0.1, fused" in told["optimizer"]
    assert told["adapter"] == "lora, rank=4, layers=attn"
    assert told["images mixed by"] == "mixup, alpha=0.2"
    assert told["taught by"] == "soft_targets, teacher=runs/big, weight=0.5"
    assert told["pseudo-fakes"] == (
        "9 pseudo-fakes an epoch, share=0.5, faces=auto, autoencoder=tiny.safetensors"
    )
    assert told["augmentation"] == "flip (horizontal_flip=0.5, same_in_pairs=False)"
    assert told["loss"] == "label_smoothing, smoothing=0.05"
    assert told["batch size"] == "16, gradients of 2 batches added"
    assert told["gradients"] == "gradient_clip_val=1"
    assert told["sampling"] == "balanced, source_weights={'web': 2}"
    assert told["cached views of an image"] == "views=4"
    assert told["average of the weights"] == "ema=0.999"
    assert found(swa=0.75)["average of the weights"] == "swa=0.75"


def test_what_happens_in_the_loader_is_told_with_its_ranges() -> None:
    web = {"jpeg": 0.5, "jpeg_quality": [30, 90], "blur": 0.0, "blur_sigma": [1, 2]}
    told = found(augment={"horizontal_flip": 0.0, "web": web, "torchvision": []})
    expected = "flip (same_in_pairs=True, web.jpeg=0.5, web.jpeg_quality=[30, 90])"
    assert told["augmentation"] == expected
