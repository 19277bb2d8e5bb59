"""What the ancestors of a row add up to."""

from harness.stages.lineage import Lineage
from harness.stages.provenance import sources_of
from harness.store.layout import Ref
from harness.store.record import Record

MODULE = "methods.labelers.folder"


def test_of_two_versions_of_a_module_the_one_that_is_not_todays_is_told() -> None:
    records = [
        Record("label", key, "attempt", {}, sources={MODULE: sha})
        for key, sha in (("a", sources_of(MODULE)), ("b", "code-1:earlier"), ("c", sources_of(MODULE)))
    ]
    lineage = Lineage({Ref(record.kind, record.key): record for record in records})
    assert lineage.sources() == {MODULE: "code-1:earlier"}
    assert Lineage({Ref("label", "a"): records[0]}).sources() == {MODULE: sources_of(MODULE)}
