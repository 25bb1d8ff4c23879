"""Results for people: tables, figures, what a run left about itself, two runs compared, the paper's rows, and
report.html (`document`).

May import core, kaldi, data, backend and evaluation. Begin with `results`: the schema of results.json and its tables.
"""
