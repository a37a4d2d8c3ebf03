"""The process around a model: frames over a socket, one call at a time.

A frame is two lengths of four bytes (big-endian), a header in JSON and a body,
which is the header's sizes of bytes one after the other. The first frame names
the model; the answer says that it is loaded, or why not. Each further frame is
a call of some requests; its answers come in frames as they are made, each with
the rows that it is for. Whoever started the process holds its standard input:
when that ends, so does the process, whatever it is doing.
"""

import json
import os
import socket
import struct
import sys
import threading
import traceback

SOCKET = 3  # the descriptor that the parent leaves open
LENGTHS = struct.Struct(">II")


class Channel:
    """Frames over a connected socket."""

    def __init__(self, conn):
        self.conn = conn

    def receive(self):
        """Returns header and parts of the next frame, None at the end."""
        head = self._read(LENGTHS.size)
        if head is None:
            return None
        header_length, body_length = LENGTHS.unpack(head)
        header = json.loads(self._read(header_length))
        body, parts, at = self._read(body_length), [], 0
        for size in header.get("sizes", ()):
            parts.append(body[at : at + size])
            at += size
        return header, parts

    def _read(self, size):
        buffer = bytearray(size)
        view, got = memoryview(buffer), 0
        while got < size:
            n = self.conn.recv_into(view[got:])
            if n == 0:
                return None
            got += n
        return bytes(buffer)

    def send(self, header, parts=()):
        header = json.dumps({**header, "sizes": [len(p) for p in parts]}).encode()
        body = b"".join(parts)
        self.conn.sendall(LENGTHS.pack(len(header), len(body)) + header + body)


def end_with_parent():
    """Ends the process when its parent lets go of the standard input."""

    def watch():
        try:
            while os.read(0, 4096):
                pass
        finally:
            os._exit(0)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def answer(channel, call, rows):
    channel.send(
        {
            "call": call,
            "rows": [r.index for r in rows],
            "status": [r.status for r in rows],
            "fields": [r.field for r in rows],
        },
        [r.content.encode("utf-8", "replace") for r in rows],
    )


def load(settings, examples):
    """Returns the scorer of a model, warm."""
    try:
        import mlflow.pyfunc
    except ModuleNotFoundError as e:
        if e.name != "mlflow":
            raise
        raise SystemExit(
            f"{sys.executable} has no mlflow: install the model's requirements.txt there, or set "
            "MILLRACE_PYFUNC_PYTHON to an interpreter that has them, or MILLRACE_PYFUNC_ENV to virtualenv or uv"
        ) from None
    os.environ["_MLFLOW_IS_IN_SERVING_ENVIRONMENT"] = "true"  # as `mlflow models serve` has it
    from .score import Scorer

    scorer = Scorer(mlflow.pyfunc.load_model(settings["model"]), settings)
    scorer.warm([e.decode() for e in examples])
    return scorer


def main():
    end_with_parent()
    conn = socket.socket(fileno=SOCKET)
    conn.set_inheritable(False)
    channel = Channel(conn)
    first = channel.receive()
    if first is None:
        return
    try:
        scorer = load(*first)
    except BaseException as e:
        if not isinstance(e, SystemExit):
            traceback.print_exc()
        channel.send({"failed": str(e) if isinstance(e, SystemExit) else f"{type(e).__name__}: {e}"})
        return
    channel.send({"loaded": scorer.about()})
    while (frame := channel.receive()) is not None:
        header, bodies = frame
        for rows in scorer.score(header["kinds"], bodies, header["alone"]):
            answer(channel, header["call"], rows)
        channel.send({"call": header["call"], "end": True})
