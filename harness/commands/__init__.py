"""Groups of verbs, thin, that `harness.commands.main` puts together."""
