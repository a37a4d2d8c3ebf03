"""The model "affine" of these tests as MLServer runs it: of X, [-1, 4], it makes
Y, [-1, 2], the row's sum and the number of the version. A call that holds 13
fails; the words of "shout" come back in capitals."""

import numpy
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Affine(MLModel):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        x = NumpyCodec.decode_input(payload.inputs[0])
        if (x == 13).any():
            raise ValueError("thirteen")
        version = numpy.full(len(x), float(self.version))
        y = numpy.stack([x.sum(axis=1), version], axis=1).astype("float32")
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=[NumpyCodec.encode_output("Y", y)])


class Shout(MLModel):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        words = StringCodec.decode_input(payload.inputs[0])
        return InferenceResponse(model_name=self.name, outputs=[StringCodec.encode_output("loud", [w.upper() for w in words])])
