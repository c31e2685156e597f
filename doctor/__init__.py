"""Finds out hop by hop why a frame does not arrive."""
