"""Recordings: headers, samples, the index of cuts, trees of files, augmentation. May import core and kaldi.

Begin at `headers` (what a file holds), `recording` (its samples, without lhotse) and `cuts` (the samples of a lhotse
cut); a new container is a function and a line in `headers.READERS`.
"""
