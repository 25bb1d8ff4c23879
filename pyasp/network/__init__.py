"""Networks: an encoder over frames, a pooling over time, a loss, and what is done with a trained one.

Imports features and what lies below it; never training or bundles. Begin with `model` (the network and
the table of encoders), `contract` (what an encoder and a pooling owe), `pooling` (the paper) and `tdnn`; `ecapa` and
`resnet` are the encoders after it.
"""
