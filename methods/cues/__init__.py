"""Where objects are at all, one file a component."""
