"""The universal background model: Gaussian mixtures, diagonal and full covariance, as Kaldi trains them.

`model`, `em`, `pairs` and `posteriors` are mathematics on arrays; `files` reads and writes Kaldi's formats; `train`
runs the iterations. May import features and what lies below it. Begin at `model`, then `em`.
"""
