"""The parts of `benchmarks.gpu_check`, a module each, and the report that they end in.

A part is a module with `TITLE`, `LIMIT_S` (seconds that it may take) and `measures(place)`, which yields what it
measures as it goes. `PARTS` names them in their order.
"""

PARTS = ("marked", "attention", "memory", "steps", "agreement", "features", "sharing", "training")
"""The quick ones first: where the time is up, those that say most of correctness are done."""
