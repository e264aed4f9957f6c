"""Figures that the textbook chapter prints wrong, computed anew, and the page that says so.

    python -m benchmarks.book.errata

writes docs/errata.md. `tests/zoo/test_chapter_numbers.py` asserts on the same functions that the page is rendered from.
"""
