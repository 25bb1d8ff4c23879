"""Error rates and costs of scores, with intervals, whole and by condition.

Imports core and data; knows nothing of the back end. Begin with `metrics` and `llr`: mathematics on arrays of scores.
`evaluate` makes a system's metrics.json of them.
"""
