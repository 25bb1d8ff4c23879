"""Total variability: the i-vector extractor, its EM training, and i-vectors of recordings, as Kaldi has them.

`model`, `em` and `mstep` are mathematics on arrays; `files` reads and writes Kaldi's formats; `statistics` goes from
frames to i-vectors, `train` runs the iterations. May import gmm and what lies below it. Begin at `model`, then `em`.
"""
