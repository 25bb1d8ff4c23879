"""Data directories: Kaldi's tables, cuts, trial lists, score files, and the choice of what trains what.

Imports core, kaldi and audio alone. Begin with `datadir`; `trials` and `scores` hold what is listed and what came out.
"""
