"""Scores requests with a model that MLflow loads; see process.py."""
