"""The API: wire formats of other services, answered with Loupe's own decisions."""
