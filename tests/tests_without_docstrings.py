"""A function whose docstring lacks everything: test_docstrings sees that."""


def add(a, b):
    """Add two numbers."""
    return a + b
