"""Runs, datasets and the registry in MLflow: with `pyfunc_model.py` the only place that knows MLflow.

`runs.py` records a training run and adds evaluations, figures and charts to it; `registry.py` finds versions and
evaluated runs, fetches what they hold and names the champion; `store.py` opens the store both of them use.

Everything is logged explicitly: no autologging, no pickle, no telemetry, no narrative text. The default store is
SQLite and a folder inside the checkout; `MLFLOW_TRACKING_URI` names another.
"""
