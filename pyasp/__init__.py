"""Text-independent speaker verification: arrays in, arrays out. The recipe around it is `run.sh`."""

__version__ = "0.1.0"
