"""Segmenters: pseudo labels to a segmentation network (stage 2); one class a file."""
