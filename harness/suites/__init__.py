"""What users write: suites in YAML, read, combined and checked; their recipes and data sets as objects."""
