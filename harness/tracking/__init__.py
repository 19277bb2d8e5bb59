"""Training curves and rows in other programs, one tracker a file; the file's name is the tracker's name."""
