"""The kinds of stage, and how a suite becomes a graph of them."""
