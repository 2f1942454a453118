"""Stage: a model and a labelled set in; numbers, gates and a report out."""
