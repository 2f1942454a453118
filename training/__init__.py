"""Stage: labelled sets and a config in, a tracked run and a registered model version out."""
