"""Compiled loops for what torch does slowly on a CPU, each beside the plain torch that it stands for."""

__all__: list[str] = []
