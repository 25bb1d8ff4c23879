"""From samples to the frames that models see: MFCC, filter banks, energy voice activity detection, and the front end.

`mfcc`, `fbank`, `vad` and `frontend` are mathematics on arrays; `kinds` is the table of what can be stored; `stored`
iterates over the features of a data directory. May import data and what lies below it. Begin at `mfcc`; `frontend` has
deltas, sliding mean, voiced frames.
"""
