"""`python -m pyasp` is the command `pyasp`."""

from pyasp.verbs import main

if __name__ == "__main__":
    raise SystemExit(main())
