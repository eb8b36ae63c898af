"""Pictures as arrays: reading, regions, checksums. Knows no task and no model."""
