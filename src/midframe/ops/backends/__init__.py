"""What runs the operators: for each backend and operator a module with ``forward``, ``backward``.

``splat``, ``correlation`` and ``adacof`` in the folder above define the functions and check their
arguments; a module here only computes. It gets tensors of any stride and at least one element.
"""
