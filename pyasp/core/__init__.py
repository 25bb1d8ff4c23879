"""What every tool stands on, without any speech in it: errors, options, the command line, atomic files and the
records of what made them, threads, processes, devices.

It imports nothing of the project. Begin with `command`, which makes a tool of a function, and `records`.
"""
