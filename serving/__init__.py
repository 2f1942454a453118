"""Stage: a released model folder in, an HTTP endpoint out."""
