"""Alarms: conditions that need a person, and the messages about them."""
