"""A trained system to carry away: one directory, and SpeakerModel, which computes with it.

Imports all that a system is made of: features, networks, i-vectors, back end, calibration. Begin with `format` (the
files), `make` (from an experiment), `speaker_model` (waves to scores), `verify` (decisions) and `enrolled` (speakers).
"""
