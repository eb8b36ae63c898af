"""harness: evaluate vision-language models with numbers that can be stood behind."""

__version__ = "0.1.0"
