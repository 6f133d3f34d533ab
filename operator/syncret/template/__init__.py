"""Rendering of templates, in a process of its own.

``pool`` is the side of the operator and imports nothing foreign; ``child`` is the other process,
with the sandbox and its filters. Between them go frames of JSON (``frames``) over a pipe.
"""
