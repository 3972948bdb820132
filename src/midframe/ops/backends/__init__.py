"""What runs the operators: for each backend and operator a module with ``forward``, ``backward``.

``splat``, ``correlation`` and ``adacof`` in the folder above define the functions, check their
arguments and answer for empty tensors; a module here only computes. `contract` says what it gets
and gives.
"""
