"""The tasks, a module each; specs.py is what the entry points name."""
