"""Screens police incident narratives for probable stalking and its risk indicators, for human review."""
