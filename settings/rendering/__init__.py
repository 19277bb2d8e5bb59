"""The renderer behind the embedded data set: layouts drawn first, then pixels and exact masks (numpy only)."""
