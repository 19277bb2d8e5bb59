"""Make golden arrays by running functions of released programs on seeded random inputs.

    python tests/golden/make_released.py MIRRORS OUTPUT

MIRRORS holds bare clones as `<owner>+<name>/repo`. Nothing of the programs is kept here: their functions and statements
are taken out of the clones, by their names, when this runs. What each file holds is told in README.md beside it.
"""

from __future__ import annotations

import ast
import json
import math
import re
import subprocess
import sys
import types
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

Names = dict[str, Any]


class Program:
    """One file of a released program."""

    def __init__(self, mirrors: Path, repository: str, path: str, changes: Mapping[str, str] | None = None) -> None:
        command = ["git", "-C", str(mirrors / repository / "repo"), "show", f"HEAD:{path}"]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        for old, new in (changes or {}).items():
            text, count = re.subn(old, new, text)
            assert count, f"{path} has no {old}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            self._tree = ast.parse(text)

    def define(self, names: Names, *wanted: str) -> Names:
        """Define functions and classes of these names, wherever they stand, in `names`."""
        kinds = (ast.FunctionDef, ast.ClassDef)
        for name in wanted:
            (found,) = (node for node in ast.walk(self._tree) if isinstance(node, kinds) and node.name == name)
            self._run([found], names)
        return names

    def run(self, names: Names, first: str, last: str) -> Names:
        """Run the statements of one block from the one that begins with `first` to the one that begins with `last`."""
        for node in ast.walk(self._tree):
            block = getattr(node, "body", None)
            texts = [ast.unparse(statement) for statement in block] if isinstance(block, list) else []
            begins = [index for index, text in enumerate(texts) if text.startswith(first)]
            ends = [index for index, text in enumerate(texts) if text.startswith(last)]
            if begins and ends:
                self._run(block[begins[0] : ends[-1] + 1], names)
                return names
        raise LookupError(f"no block from {first} to {last}")

    @staticmethod
    def _run(statements: Sequence[ast.stmt], names: Names) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            exec(compile(ast.Module(list(statements), []), "released", "exec"), names)


def torch_names(**more: Any) -> Names:
    return {"torch": torch, "nn": torch.nn, "F": torch.nn.functional, "np": np, **more}


def seam(mirrors: Path) -> dict[str, Names]:
    repository = "YudeWang+SEAM"
    scaling = Program(mirrors, repository, "tool/visualization.py").define(torch_names(), "max_norm")
    generator = torch.Generator().manual_seed(0)
    files: dict[str, Names] = {}

    # Losses: both copies have one size here, so that the resizing of the first changes nothing.
    training = Program(mirrors, repository, "train_SEAM.py", {r"21 ?\* ?hs": "cs*hs"})
    shape = (3, 5, 9, 8)
    branches: Names = {}
    for copy in (1, 2):
        # Most maps are positive everywhere, so that it shows whether their minima are taken off.
        offsets = torch.tensor([0.0, 5, 6, 8, 0])[:, None, None]
        branches[f"cam_{copy}"] = torch.randn(shape, generator=generator) * 2 + offsets
        branches[f"refined_{copy}"] = 0.3 + 0.5 * torch.rand(shape, generator=generator) ** 2
    labels = torch.tensor([[1.0, 0, 0, 0], [0, 1, 1, 0], [1, 0, 1, 1]])
    outputs = iter([(branches[f"cam_{copy}"].clone(), branches[f"refined_{copy}"].clone()) for copy in (1, 2)])
    names = torch_names(
        model=lambda _: next(outputs),
        img1=None,
        img2=None,
        scale_factor=1.0,
        visualization=types.SimpleNamespace(max_norm=scaling["max_norm"]),
        label=torch.cat([torch.ones(3, 1), labels], 1)[:, :, None, None],
    )
    training.define(names, "adaptive_min_pooling_loss", "max_onehot")
    training.run(names, "cam1, cam_rv1 = model(img1)", "loss = ")
    files["seam_losses"] = branches | {
        "labels": labels,
        "normalised_cam": scaling["max_norm"](branches["cam_1"].clone()),
        "classification": (names["loss_cls1"] + names["loss_cls2"]) / 2,
        "equivariance": names["loss_er"],
        "consistency": names["loss_ecr"],
        "min_pooling": (names["loss_rvmin1"] + names["loss_rvmin2"]) / 2,
        "total": names["loss"],
    }

    # The network from its features on, its widths cut; the photo has the features' size.
    cuts = {r"4096, 21": "7, 5", r"512, 64": "6, 4", r"1024, 128": "7, 5", r"192\+3, 192": "9+3, 9"}
    program = Program(mirrors, repository, "network/resnet38_SEAM.py", cuts | {r"network\.resnet38d\.Net": "Features"})
    levels = [torch.randn(2, channels, 5, 6, generator=generator).relu() for channels in (6, 7)]

    class Features(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name in ("conv1a", "b2", "b2_1", "b2_2"):
                setattr(self, name, torch.nn.Identity())

        def forward_as_dict(self, _: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"conv4": levels[0], "conv5": levels[1], "conv6": levels[1]}

    torch.manual_seed(1)
    network = program.define(torch_names(Features=Features), "Net")["Net"]().eval()
    image = torch.randn(2, 3, 5, 6, generator=generator)
    with torch.no_grad():
        cam, refined = network(image)
    weights = {name: network.state_dict()[f"{name}.weight"] for name in ("fc8", "f8_3", "f8_4", "f9")}
    files["seam_network"] = {
        "level_3": levels[0],
        "level_4": levels[1],
        "image": image,
        **weights,
        "cam": cam,
        "refined": refined,
    }

    # Inference: the maps of all passes, turned back, to one map a class.
    passes = torch.rand(4, 3, 7, 9, generator=generator).numpy() ** 2
    passes[:, 1] += 0.2
    inference = Program(mirrors, repository, "infer_SEAM.py")
    names = inference.run(torch_names(cam_list=list(passes)), "sum_cam = ", "norm_cam = ")
    files["seam_inference"] = {"passes": passes, "maps": names["norm_cam"]}
    return files


def _answering(logits: Sequence[torch.Tensor]) -> Callable[..., tuple[None, None, torch.Tensor]]:
    """A network that gives these, one a call."""
    outputs = iter(logits)
    return lambda *_, **__: (None, None, next(outputs).clone())


def c2am(mirrors: Path) -> dict[str, Names]:
    """Both polarities, on grids that differ from scale to scale."""
    repository = "CVI-SZU+CCAM"
    generator = torch.Generator().manual_seed(2)
    scales, grids = (0.5, 1.0, 1.5), ((3, 4), (6, 8), (9, 12))
    logits = [torch.randn(2, 1, *grid, generator=generator) * 1.5 for grid in grids]
    image = types.SimpleNamespace(size=(32, 24), resize=lambda *_, **__: np.zeros((1, 1, 3), np.float32))
    # The program moves tensors to a GPU, which this need not have.
    torch.Tensor.cuda = lambda tensor: tensor  # type: ignore[method-assign, assignment]
    found = {}
    for flag in (False, True):
        names = torch_names(
            copy=types.SimpleNamespace(deepcopy=lambda value: value),
            PIL=types.SimpleNamespace(Image=types.SimpleNamespace(CUBIC=None)),
            normalize_fn=lambda value: value,
            model=_answering(logits),
            ori_image=image,
            label=np.array([1]),
            flag=flag,
            scales=scales,
            ori_w=32,
            ori_h=24,
        )
        Program(mirrors, repository, "WSSS/tools/ai/demo_utils.py").define(
            names, "get_strided_size", "get_strided_up_size"
        )
        Program(mirrors, repository, "WSSS/tools/ai/torch_utils.py").define(names, "resize_for_tensors")
        program = Program(mirrors, repository, "WSSS/inference_CCAM.py")
        program.define(names, "get_cam")
        program.run(names, "strided_size = ", "hr_cams /= ")
        found[f"map_{'inverted' if flag else 'plain'}"] = names["strided_cams"][0]
    return {"c2am_inference": {**{f"logits_{scale}": of for scale, of in zip(scales, logits, strict=True)}, **found}}


def pamr(mirrors: Path) -> dict[str, Names]:
    generator = torch.Generator().manual_seed(3)
    program = Program(mirrors, "visinf+1-stage-wseg", "models/mods/pamr.py")
    names = program.define(
        torch_names(), "LocalAffinity", "LocalAffinityCopy", "LocalStDev", "LocalAffinityAbs", "PAMR"
    )
    image, maps = (torch.rand(2, channels, 26, 30, generator=generator) for channels in (3, 2))
    image[:, :, :13] *= 0.3
    with torch.no_grad():
        refined = names["PAMR"](10, [1, 2, 4, 8, 12, 24])(image, maps)
    return {"pamr": {"image": image, "maps": maps, "refined": refined}}


def irn(mirrors: Path) -> dict[str, Names]:
    repository, radius, grid = "jiwoon-ahn+irn", 5, (12, 14)
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(2, 1, *grid, generator=generator) * 2
    labels = torch.tensor([0, 1, 2, 255])[torch.randint(0, 4, (2, *grid), generator=generator)].to(torch.uint8)

    class Net(torch.nn.Module):
        def forward(self, _: object) -> tuple[torch.Tensor, torch.Tensor]:
            return logits, torch.zeros(2, 2, *grid)

    paths = Program(mirrors, repository, "misc/indexing.py").define(torch_names(), "PathIndex")
    path_index = paths["PathIndex"](radius=radius, default_size=grid)
    loss = Program(mirrors, repository, "net/resnet50_irn.py").define(torch_names(Net=Net), "AffinityDisplacementLoss")[
        "AffinityDisplacementLoss"
    ](path_index)
    pair_labels = Program(mirrors, repository, "voc12/dataloader.py").define(
        torch_names(), "GetAffinityLabelFromIndices"
    )["GetAffinityLabelFromIndices"](path_index.src_indices, path_index.dst_indices)
    kinds = [torch.stack(of) for of in zip(*(pair_labels(mask.numpy()) for mask in labels), strict=True)]
    names = torch_names(model=loss, img=None, bg_pos_label=kinds[0], fg_pos_label=kinds[1], neg_label=kinds[2])
    with torch.no_grad():
        training = Program(mirrors, repository, "step/train_irn.py")
        training.run(names, "pos_aff_loss, neg_aff_loss, dp_fg_loss", "neg_aff_loss = ")
    counts = {name: int(kind.sum()) for name, kind in zip(("n_bg", "n_fg", "n_neg"), kinds, strict=True)}
    total = (names["pos_aff_loss"] + names["neg_aff_loss"]) / 2
    return {"irn_loss": {"boundary_logits": logits, "labels": labels, "radius": radius, **counts, "loss": total}}


def resnet38(mirrors: Path) -> dict[str, Names]:
    """Names and shapes at the released widths; levels of the network at a 32nd of them, with `released_weights`."""
    widths = (64, 128, 256, 512, 1024, 2048, 4096)
    cuts = {rf"\b{width}\b": str(width // 32) for width in widths}
    found: list[torch.nn.Module] = []
    for changes in ({}, cuts):
        program = Program(mirrors, "jiwoon-ahn+psa", "network/resnet38d.py", changes)
        names = program.define(torch_names(), "ResBlock", "ResBlock_bot", "Normalize", "Net")
        with torch.device("cpu" if changes else "meta"):
            found.append(names["Net"]())
    full, network = found
    network.load_state_dict(released_weights(network.state_dict()))
    network.eval()
    image = torch.randn(2, 3, 40, 56, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        levels = network.forward_as_dict(image)
    shapes = {name: list(tensor.shape) for name, tensor in full.state_dict().items() if "num_batches" not in name}
    return {"resnet38": {"image": image, "shapes": json.dumps(shapes), **levels}}


def released_weights(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Seeded values for a network's tensors, in the order of their names: what a golden file need not hold."""
    rng = np.random.default_rng(38)
    values: dict[str, torch.Tensor] = {}
    for name in sorted(state):
        shape = tuple(state[name].shape)
        if name.endswith("num_batches_tracked"):
            values[name] = state[name]
        elif name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight")):
            values[name] = torch.from_numpy(rng.uniform(0.5, 1.5, shape).astype(np.float32))
        elif len(shape) == 1:
            values[name] = torch.from_numpy(rng.normal(0, 0.2, shape).astype(np.float32))
        else:
            deviation = (2 / math.prod(shape[1:])) ** 0.5
            values[name] = torch.from_numpy(rng.normal(0, deviation, shape).astype(np.float32))
    return values


def main(mirrors: Path, output: Path) -> None:
    for maker in (seam, c2am, pamr, irn, resnet38):
        for name, values in maker(mirrors).items():
            np.savez_compressed(output / f"{name}.npz", **{key: np.asarray(value) for key, value in values.items()})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
