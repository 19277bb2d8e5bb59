"""The arithmetic that a suite asks for, what the machine has, and what keys, notes and rows make of both."""

import pytest

from harness.stages import numerics, planning
from harness.stages.planning import Plan, make_plan
from harness.stages.rows import RowRuntime
from harness.suites.suite import load_suite
from tests.harness.conftest import ONLY_CAM

ROUNDED = "bfloat16 products"


def planned(monkeypatch: pytest.MonkeyPatch, cpu: str, *overrides: str) -> Plan:
    monkeypatch.setattr(numerics, "cpu_class", lambda: cpu)
    monkeypatch.setattr(numerics, "resolve_device", lambda wanted: "cpu")
    return make_plan(load_suite("starter", overrides))


def precisions(plan: Plan) -> dict[str, set[str]]:
    """By kind of stage and component."""
    found: dict[str, set[str]] = {}
    for stage in plan.graph.values():
        if stage.identity.numerics is not None:
            component = getattr(stage.identity, "component", None)
            name = f"{stage.kind.name} {component.name}" if component else stage.kind.name
            found.setdefault(name, set()).add(stage.identity.numerics.precision)
    return found


def test_auto_rounds_trainings_that_gain_where_there_is_amx(monkeypatch: pytest.MonkeyPatch) -> None:
    found = precisions(planned(monkeypatch, "amx"))
    assert found["localizer_fit cam"] == {ROUNDED}
    rest = {name: kinds for name, kinds in found.items() if name != "localizer_fit cam"}
    assert rest
    assert all(kinds == {"float32"} for kinds in rest.values())


def test_auto_is_float32_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(kinds == {"float32"} for kinds in precisions(planned(monkeypatch, "avx512")).values())
    same = planned(monkeypatch, "avx512", "compute.precision=float32").graph.keys()
    assert same == planned(monkeypatch, "avx512").graph.keys()


def test_auto_leaves_a_backbone_that_is_tuned_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(monkeypatch, "amx", "training_mode=fine_tuned", "backbone.weights=random")
    assert all(kinds == {"float32"} for kinds in precisions(plan).values())


def test_rows_tell_where_there_was_a_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(cpu: str, *overrides: str) -> dict[str, set[str]]:
        plan, found = planned(monkeypatch, cpu, *overrides), {}
        for ref in plan.rows:
            stage = plan.graph[ref]
            assert isinstance(stage.runtime, RowRuntime)
            found.setdefault(stage.identity.row.recipe, set()).add(stage.runtime.arithmetic)
        return found

    floors = ("all-background", "full-supervision", "coattention")
    on_amx = told("amx")
    assert on_amx["cam"] == {ROUNDED}
    assert all(on_amx[name] == {""} for name in floors)
    assert told("avx512")["cam"] == {"float32"}
    assert all(kinds == {ROUNDED} for kinds in told("avx2", "compute.precision=bfloat16").values())


def test_without_numba_keys_and_notes_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = planned(monkeypatch, "avx512")
    for module in (numerics, planning):
        monkeypatch.setattr(module, "has_compiled_loops", lambda: False)
    plan = planned(monkeypatch, "avx512")
    assert any("numba is not installed" in note for note in plan.notes)
    assert not any("numba" in note for note in usual.notes)
    moved = {ref.kind for ref in plan.graph.keys() - usual.graph.keys()}
    assert {"localizer_fit", "segmenter_fit"} <= moved


def test_the_class_of_a_cpu_names_what_keeps_torch_from_its_best_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numerics, "_vector_unit", lambda: "amx")

    def told(**variables: str) -> str:
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            return numerics.cpu_class()

    assert told() == told(ATEN_CPU_CAPABILITY="avx512") == told(MKL_CBWR="") == "amx"
    assert told(ATEN_CPU_CAPABILITY="avx2") == "amx, ATEN_CPU_CAPABILITY=avx2"
    both = told(ONEDNN_MAX_CPU_ISA="AVX2", MKL_CBWR="AVX2")
    assert both == "amx, MKL_CBWR=AVX2, ONEDNN_MAX_CPU_ISA=AVX2"


def test_keys_hold_what_torch_really_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numerics, "resolve_device", lambda wanted: "cpu")

    def keys(kind: str) -> set[str]:
        return {ref.key for ref in make_plan(load_suite("smoke", ONLY_CAM)).graph if ref.kind == kind}

    features, weak_sets = keys("features"), keys("weak_set")
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    assert keys("features").isdisjoint(features) and keys("weak_set") == weak_sets
