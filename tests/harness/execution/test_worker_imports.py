"""What a worker imports before its first stage, and for a stage that reads stored features."""

import subprocess
import sys

CODE = """
import sys

DEAR = {"cleanlab", "matplotlib", "pandas", "seaborn", "segmentation_models_pytorch", "sklearn", "timm", "torchvision"}

import harness.execution.child
from harness.stages.kind import kinds

kinds()
print(sorted((DEAR | {"numba", "ray", "scipy", "torch"}) & set(sys.modules)))

import methods.features, methods.inputs, methods.training
import methods.networks.affinity_net, methods.networks.deeplab, methods.networks.heads, methods.networks.pair_classifier
import methods.localization, methods.upsampling, methods.labelers.threshold

print(sorted(DEAR & set(sys.modules)), "torch" in sys.modules)
"""


def test_a_worker_imports_neither_pandas_nor_plots_nor_timm_before_a_stage_asks_for_them() -> None:
    """Each takes between a third of a second and three.

    Every kind of stage is imported, then what trains on stored features; torch comes with the first that computes.
    """
    ended = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines() == ["[]", "[] True"]
