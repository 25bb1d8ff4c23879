"""Any file of a run looked at: `show` in words, `diff` two of them, `plot` what they hold.

May import every package but bin. Begin with `show`: its table VIEWS has a line for each kind that `kind` knows.
"""
