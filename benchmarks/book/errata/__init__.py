"""Errata of the textbook chapter: wrong numbers are recomputed and listed in docs/errata.md.

    python -m benchmarks.book.errata

writes the page. `tests/zoo/test_chapter_numbers.py` tests the functions from which it is rendered.
"""
