"""The synthetic corpus: how written narratives enter it, how forces record them, and simulated histories."""
