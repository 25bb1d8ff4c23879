"""One thin main per verb; run as `python -m pyasp.bin.<verb>`."""
