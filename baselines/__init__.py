"""The bundled models: one module per model of the lecture, readable beside its paper; the floors;
training. specs.py is what the entry points name and imports no torch."""
