"""A function whose docstring lacks all sections, for test_docstrings."""


def add(a, b):
    """Add two numbers."""
    return a + b
