"""Recordings: headers, samples, the index of cuts, trees of files, augmentation. May import core and kaldi.

Begin at `headers` (what a file holds), `recording` (its samples, without lhotse) and `cuts` (the samples of a lhotse
cut); a new container is a function and a line in `headers.READERS`. A length is what can be decoded: preparation, check
and reading ask the same `read_header`, which counts compressed audio frame by frame (`flac`, `frames`, `mp4`).
"""
