"""Web filters: which extra photos are kept, one file a filter; pure functions of probabilities and query labels."""
