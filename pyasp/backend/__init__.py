"""From embeddings to scores: mean, whitening, LDA, length normalisation, PLDA; normalised and calibrated scores.

Imports core, kaldi and data; knows nothing of evaluation. Begin with `plda` and `model`: mathematics. Reading and
writing lies in `files` and `lists`.
"""
