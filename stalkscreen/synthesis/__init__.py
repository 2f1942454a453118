"""The synthetic corpus: how hand-written narratives enter it, how forces record them, and simulated histories."""
