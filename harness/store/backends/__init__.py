"""A store behind a URL: object stores and file systems that fsspec knows, for machines without a shared disk."""
