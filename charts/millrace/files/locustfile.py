"""Load for a Millrace gateway, for those who have Locust.

    locust -f load/locustfile.py --headless --users 300 --spawn-rate 20 --run-time 60s --host http://localhost:8000

Without a BODY the requests are made-up windows for the bundled forecaster. Settings,
from the environment:

    BODY        file with the body of a request; several are separated by ':' and sent at random
    MODEL       header X-Model, for a pool of several models
    TOKEN       bearer token
    THINK       seconds between an answer and the user's next request, 1 when it is not set
    TIMEOUT     seconds that a request may take, 30 when it is not set

A request fails unless its answer is a prediction: status 200 with JSON that has
"predictions" or, in the Open Inference Protocol, "outputs".
"""

import json
import math
import os
import random

from locust import HttpUser, constant_pacing, task

HOURS = 48


def window() -> bytes:
    """Made-up hourly temperatures of two days, in degrees Fahrenheit."""
    mean, swing, phase = random.uniform(30, 80), random.uniform(5, 15), random.uniform(0, 24)
    values = [round(mean + swing * math.sin((h + phase) * math.tau / 24) + random.gauss(0, 1), 2) for h in range(HOURS)]
    return json.dumps({"inputs": {"window": [values]}}).encode()


def bodies():
    """What is sent: files, or made-up windows."""
    paths = [p for p in os.environ.get("BODY", "").split(":") if p]
    if not paths:
        return window
    read = []
    for path in paths:
        with open(path, "rb") as file:
            read.append(file.read())
    return lambda: random.choice(read)


def headers() -> dict:
    """Those of every request."""
    out = {"Content-Type": "application/json", "X-Request-Timeout": os.environ.get("TIMEOUT", "30")}
    if os.environ.get("MODEL"):
        out["X-Model"] = os.environ["MODEL"]
    if os.environ.get("TOKEN"):
        out["Authorization"] = "Bearer " + os.environ["TOKEN"]
    return out


class Caller(HttpUser):
    """Somebody who asks, reads the answer, and asks again."""

    wait_time = constant_pacing(float(os.environ.get("THINK", "1")))
    body = staticmethod(bodies())
    headers = headers()

    @task
    def predict(self):
        with self.client.post(
            "/predict",
            data=self.body(),
            headers=self.headers,
            timeout=float(os.environ.get("TIMEOUT", "30")) + 5,
            catch_response=True,
        ) as response:
            if response.status_code != 200:
                response.failure(f"HTTP {response.status_code}: {(response.text or '')[:200]}")
                return
            try:
                answer = response.json()
            except ValueError:
                response.failure("the answer is no JSON")
                return
            if not isinstance(answer, dict) or not ("predictions" in answer or "outputs" in answer):
                response.failure("the answer holds no prediction")
