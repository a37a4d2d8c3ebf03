"""Saves a scikit-learn model of two columns in the folder that is named."""

import sys

import mlflow.sklearn
import numpy
import pandas
from mlflow.models import infer_signature
from sklearn.linear_model import LinearRegression

x = pandas.DataFrame({"a": [0.0, 1.0, 2.0, 5.0], "b": [1.0, 0.0, 3.0, 2.0]})
model = LinearRegression().fit(x, x["a"] + 2 * x["b"] + 1)
mlflow.sklearn.save_model(model, sys.argv[1], signature=infer_signature(x, numpy.array([1.0])))
