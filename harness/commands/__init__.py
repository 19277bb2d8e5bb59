"""Groups of verbs, thin, that `harness.cli` puts together."""
