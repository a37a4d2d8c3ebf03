"""Asks a gateway as clients of MLflow and of the Open Inference Protocol do that nobody here wrote.

Arguments: the gateway's URL, its gRPC address, the model's name, its version, and the number that it tells in its second
output. The first is the sum of the four inputs.
"""

import gzip
import json
import sys

import numpy as np
import requests
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

WEB, RPC, NAME, VERSION, TOLD = sys.argv[1:6]
ROWS = np.array([[1, 2, 3, 4], [0.5, 0, 0, 1]], dtype=np.float32)


def same(got, rows=ROWS):
    """The answer as the model computes it: the row's sum, and its number."""
    want = np.stack([rows.sum(axis=1), np.full(len(rows), float(TOLD))], axis=1)
    np.testing.assert_allclose(np.asarray(got, dtype=np.float64), want, rtol=1e-5)


def refused(call, *words):
    try:
        call()
    except InferenceServerException as e:
        for word in words:
            assert word in str(e), (word, str(e))
        return
    raise AssertionError("not refused")


def triton(kind, address):
    client = kind.InferenceServerClient(address)
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready(NAME) and client.is_model_ready(NAME, VERSION)
    assert not client.is_model_ready("no-such-model")
    server, about = client.get_server_metadata(), client.get_model_metadata(NAME)
    if kind is triton_grpc:
        server = {"name": server.name, "extensions": list(server.extensions)}
        about = {"versions": list(about.versions), "inputs": [{"name": t.name, "datatype": t.datatype, "shape": list(t.shape)} for t in about.inputs]}
    assert server["name"] == "millrace" and "binary_tensor_data" in server["extensions"], server
    assert about["versions"] == [VERSION], about
    assert about["inputs"] == [{"name": "X", "datatype": "FP32", "shape": [-1, 4]}], about

    def tensor(rows, shape=None, **form):
        t = kind.InferInput("X", shape or list(rows.shape), "FP32")
        t.set_data_from_numpy(rows, **form)
        return t

    same(client.infer(NAME, [tensor(ROWS)]).as_numpy("Y"))
    result = client.infer(NAME, [tensor(ROWS)], model_version=VERSION, request_id="seven", timeout=20_000_000,
                          outputs=[kind.InferRequestedOutput("Y")])
    same(result.as_numpy("Y"))
    response = result.get_response()
    if kind is triton_grpc:
        response = {"id": response.id, "model_name": response.model_name, "model_version": response.model_version}
    assert (response["id"], response["model_name"], response["model_version"]) == ("seven", NAME, VERSION), response
    big = np.random.default_rng(1).standard_normal((1000, 4)).astype(np.float32)
    got = client.infer(NAME, [tensor(big)]).as_numpy("Y")
    np.testing.assert_allclose(got[:, 0], big.sum(axis=1), rtol=1e-3, atol=1e-4)

    if kind is triton_http:
        same(client.infer(NAME, [tensor(ROWS, binary_data=False)], outputs=[kind.InferRequestedOutput("Y", binary_data=False)]).as_numpy("Y"))
        same(client.infer(NAME, [tensor(ROWS, binary_data=False)]).as_numpy("Y"))
        for packed in ("gzip", "deflate"):
            same(client.infer(NAME, [tensor(ROWS)], request_compression_algorithm=packed, response_compression_algorithm=packed).as_numpy("Y"))
        many = [client.async_infer(NAME, [tensor(ROWS)]) for _ in range(20)]
        for one in many:
            same(one.get_result().as_numpy("Y"))
    else:
        import queue
        done = queue.Queue()
        for _ in range(20):
            client.async_infer(NAME, [tensor(ROWS)], lambda result, error: done.put((result, error)))
        for _ in range(20):
            result, error = done.get(timeout=30)
            assert error is None, error
            same(result.as_numpy("Y"))
        same(client.infer(NAME, [tensor(ROWS)], client_timeout=20, compression_algorithm="gzip", headers={"x-key": "k"}).as_numpy("Y"))

    wrong = np.zeros((1, 3), dtype=np.float32)
    refused(lambda: client.infer(NAME, [tensor(wrong)]), "INVALID_INPUT", "shape [1, 3], where the model takes [-1, 4]")
    other = kind.InferInput("X", [1, 4], "INT64")
    other.set_data_from_numpy(np.zeros((1, 4), dtype=np.int64))
    refused(lambda: client.infer(NAME, [other]), "datatype INT64, where the model takes FP32")
    refused(lambda: client.infer("no-such-model", [tensor(ROWS)]), "MODEL_NOT_FOUND")
    refused(lambda: client.infer(NAME, [tensor(ROWS)], model_version="99"), "MODEL_NOT_FOUND")
    refused(lambda: client.infer(NAME, [tensor(ROWS)], outputs=[kind.InferRequestedOutput("Z")]), 'no output "Z"')
    refused(lambda: client.get_model_metadata("no-such-model"), "no-such-model")
    client.close()


def plain():
    """requests, in every dialect."""
    def post(path, status=200, **how):
        r = requests.post(WEB + path, timeout=30, **how)
        assert r.status_code == status, (path, r.status_code, r.text)
        return r.json()

    same(post("/invocations", json={"inputs": ROWS.tolist()})["predictions"]["Y"])
    same(post("/predict", json={"inputs": {"X": ROWS.tolist()}})["predictions"]["Y"])
    same(post("/invocations", data=gzip.compress(json.dumps({"instances": ROWS.tolist()}).encode()),
              headers={"Content-Type": "application/json", "Content-Encoding": "gzip"})["predictions"]["Y"])
    error = post("/invocations", 400, json={"inputs": [[1, 2, 3]]})
    assert set(error) >= {"error_code", "message"}, error
    error = post("/invocations", 415, data="{}", headers={"Content-Type": "text/plain"})
    assert error["error_code"] == "UNSUPPORTED_MEDIA_TYPE", error
    error = post("/invocations", 415, data={"a": 1})
    assert "-H 'Content-Type: application/json'" in error["message"], error
    body = {"inputs": [{"name": "X", "shape": [2, 4], "datatype": "FP32", "data": ROWS.tolist()}]}
    for path in ("/predict", f"/v2/models/{NAME}/infer", f"/v2/models/{NAME}/versions/{VERSION}/infer"):
        same(np.reshape(post(path, json=body)["outputs"][0]["data"], (2, 2)))
    error = post(f"/v2/models/{NAME}/infer", 400, json={"inputs": []})
    assert list(error) == ["error"], error
    assert requests.get(WEB + "/ping", timeout=30).status_code == 200
    assert requests.get(WEB + "/health", timeout=30).status_code == 200


def mlflow_clients():
    """MLflow's own client of a scoring server, and its deployments client."""
    import mlflow
    import pandas as pd
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient

    assert requests.get(WEB + "/version", timeout=30).text == mlflow.__version__
    host, port = WEB.removeprefix("http://").split(":")
    client = ScoringServerClient(host, int(port))
    client.ping()
    client.wait_server_ready(timeout=10)
    same(client.invoke(ROWS).get_predictions()["Y"].tolist())
    try:
        client.invoke(ROWS[:, :3])
        raise AssertionError("not refused")
    except Exception as e:
        assert "Shape of input" in str(e), e
    frame = pd.DataFrame({"a": [1.0]})
    try:
        client.invoke(frame)
        raise AssertionError("not refused")
    except Exception as e:
        assert "INVALID_INPUT" in str(e), e


triton(triton_http, WEB.removeprefix("http://"))
triton(triton_grpc, RPC)
plain()
mlflow_clients()
print("all clients work")
