"""Exports of decisions and of images, as CSV, JSON Lines and Parquet: streamed and filtered."""
