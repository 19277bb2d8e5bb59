"""Extra photos beside those of the target set, one file a kind of source."""
