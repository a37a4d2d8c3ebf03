"""Answers requests by MLflow's own scoring server code: reads a JSON object of
models' names, each with its list of [content type, body], from standard input and
prints each answer as [status, body]."""

import json
import sys

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import scoring_server


def answer(model, schema, content_type, body):
    try:
        got = scoring_server.invocations(body.encode(), content_type, model, schema)
        return [got.status, got.response]
    except MlflowException as e:
        return [e.get_http_status_code(), e.message]
    except Exception as e:
        return [500, repr(e)]


answers = {}
for name, requests in json.load(sys.stdin).items():
    model = mlflow.pyfunc.load_model(f"models:/{name}@champion")
    schema = model.metadata.get_input_schema()
    answers[name] = [answer(model, schema, *r) for r in requests]
json.dump(answers, sys.stdout)
