"""The kinds of stage, one file a family, and how a suite becomes a graph of them.

`kind` is the concept: a kind of stage is a class that says what its key consists of, what it needs, writes and costs,
and what it does. A family's file holds its kinds and, beside them, the functions that plan their stages:
`weak_set`, `filters`, `features`, `localizer`, `refiner`, `cue`, `labels`, `segmenter`, `scoring`, `rows`, `gallery`,
`diagnostics`. `planning` asks them for all that a suite wants; `work` is what a running stage has at hand.
"""
