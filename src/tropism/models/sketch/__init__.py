"""Mergeable summaries of constant memory: the same rows give the same sketch, in whatever order and grouping.

Merging is exact, commutative and associative. Nothing is imported here, so that `moments`, `latency`,
`distinct` and `categories` stay free of numpy.
"""
