"""Training of networks: `trainer` is read from top to bottom, `options` has everything that tdnn.conf may say.

Uses networks through `pyasp.network.model` alone; `compute` chooses how one is run (one pass, several processes, a
compiler), `frames` and `chunks` bring the batches, `run` holds what a checkpoint holds.
"""
