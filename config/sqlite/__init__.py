"""Django's backend for SQLite: writers wait in turn (docs/adr/0014), and moments are read in fewer steps."""
