"""What a command does when more than one stage takes part, so that `cli.py` stays a list of options.

`training.py` trains, evaluates, tracks and registers; `evaluating.py` measures a model on labelled files;
`label_review.py` lists labels that are probably wrong and applies a review; `reading.py` is how all three read files.
The first three may import the stages and do so inside functions. Only the command line and the demo import them.
"""
