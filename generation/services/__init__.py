"""The verbs: ``requests`` (what people do), ``pipeline`` (what workers do), ``storing`` (bytes to assets)."""
