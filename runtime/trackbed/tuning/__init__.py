"""Tuning: trials of any program that `trackbed run` takes, chosen by Optuna and tracked as nested MLflow runs."""
