"""What users write: suites in YAML, read, combined, checked; recipes as component objects."""
