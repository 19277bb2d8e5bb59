"""Plain classification on as many steps: the control of a pretraining, which shows what more training alone gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from methods.base import Cost, Fit, Localized, Pretraining, Surroundings, TrainingOptions
from settings.options import Options

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray


class ClassificationOptions(Options):
    """The training; one step sees each photo of its batch once, mirrored at random."""

    training: TrainingOptions = TrainingOptions(epochs=2, batch=8, learning_rate=0.02)


class Classification(Pretraining):
    """Multi-label soft-margin loss on the mean features of photos with image-level labels."""

    options_model = ClassificationOptions
    fit_cost = Cost(0.12)
    reads_labels = True
    options: ClassificationOptions

    def fit(self, data: Localized, surroundings: Surroundings) -> Fit:
        """Train backbone and a linear classifier, which is left behind."""
        import torch
        from torch import nn
        from torch.nn.functional import multilabel_soft_margin_loss

        from methods.inputs import TrainedInputs
        from methods.training import groups_of, train

        torch.manual_seed(surroundings.rng_seed)
        weak, device, share = data.weak, surroundings.device, surroundings.share
        inputs = TrainedInputs(weak.photos, (1, 4), surroundings.backbone, device)
        head = nn.Linear(inputs.channels[-1], weak.label_space.foreground).to(device)
        labels_NK = torch.from_numpy(weak.labels_NK()).to(device)

        def step(rows: NDArray[np.int64], rng: np.random.Generator) -> dict[str, torch.Tensor]:
            flips = rng.random(len(rows)) < 0.5
            rows, flips = share.of(rows), share.of(flips)
            logits_BK = head(inputs(rows, flips)[-1].mean((2, 3)))
            return {"classification": multilabel_soft_margin_loss(logits_BK, labels_NK[rows])}

        training = self.options.training
        groups = groups_of(head, bias_factor=training.bias_factor)
        groups += inputs.groups(training.backbone_factor, training.bias_factor)
        modules = nn.ModuleDict({"head": head, "inputs": inputs.module})
        log = train(modules, groups, len(weak.photos), step, training, surroundings)
        return Fit(inputs.weights_with(), log)
