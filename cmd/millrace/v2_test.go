package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/bundled"
	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/model"
)

// TestV2 asks the whole system in the Open Inference Protocol, in JSON and with the
// tensors behind it, over HTTP and over Kafka.
func TestV2(t *testing.T) {
	s := startUp(t, home(t, "MILLRACE_MODEL=other=bundled"), "--kafka-port", "0")
	eventually(t, func() bool { return get(t, s.web+"/v2/models/forecaster/ready").code == http.StatusOK }, "the model is described")
	var about struct {
		Versions, Platform any
		Inputs             []struct {
			Name, Datatype string
			Shape          []int
		}
	}
	require.NoError(t, json.Unmarshal([]byte(get(t, s.web+"/v2/models/other").body), &about), "by its given name")
	require.Equal(t, "onnx_onnxv1", about.Platform)
	require.Len(t, about.Versions, 1)
	require.Equal(t, []int{-1, 48}, about.Inputs[0].Shape)

	window := bundled.Examples()[0].Window
	want := send(t.Context(), http.MethodPost, s.web+"/predict", string(bundled.Examples()[0].Body()))
	require.Equal(t, http.StatusOK, want.code, want.body)
	var predictions struct {
		Predictions struct{ Forecast [][]float64 }
	}
	require.NoError(t, json.Unmarshal([]byte(want.body), &predictions))

	numbers, err := json.Marshal(window)
	require.NoError(t, err)
	got := send(t.Context(), http.MethodPost, s.web+"/v2/models/forecaster/infer",
		fmt.Sprintf(`{"id": "7", "inputs": [{"name": "window", "shape": [1, 48], "datatype": "FP32", "data": %s}]}`, numbers))
	require.Equal(t, http.StatusOK, got.code, got.body)
	var inferred struct {
		ID      string
		Outputs []struct{ Data []float32 }
	}
	require.NoError(t, json.Unmarshal([]byte(got.body), &inferred))
	require.Equal(t, "7", inferred.ID)
	for i, f := range inferred.Outputs[0].Data {
		require.InDelta(t, predictions.Predictions.Forecast[0][i], f, 0)
	}

	head := `{"inputs":[{"name":"window","shape":[1,48],"datatype":"FP32","parameters":{"binary_data_size":192}}],"parameters":{"binary_data_output":true}}`
	body := head + string(model.BytesOf(window))
	check := func(length, value string) {
		n, err := strconv.Atoi(length)
		require.NoError(t, err)
		require.Contains(t, value[:n], `"name":"forecast","shape":[1,12],"datatype":"FP32","parameters":{"binary_data_size":48}`)
		require.Equal(t, string(model.BytesOf(inferred.Outputs[0].Data)), value[n:])
	}
	got = send(t.Context(), http.MethodPost, s.web+"/v2/models/other/infer", body, "Inference-Header-Content-Length", strconv.Itoa(len(head)))
	require.Equal(t, http.StatusOK, got.code, got.body)
	require.Equal(t, "application/octet-stream", got.header.Get("Content-Type"))
	check(got.header.Get("Inference-Header-Content-Length"), got.body)

	s.ask(t, &kgo.Record{Value: []byte(body), Headers: []kgo.RecordHeader{{Key: wire.HeaderLength, Value: []byte(strconv.Itoa(len(head)))}}})
	s.kafka.AddConsumeTopics(results)
	rec := s.kafka.PollRecords(t.Context(), 1).Records()[0]
	length, _ := wire.Header(rec, wire.HeaderLength)
	check(string(length), string(rec.Value))

	for path, body := range map[string]string{"/v2/models/none/infer": body, "/v2/models/forecaster/versions/none/infer": head} {
		got = send(t.Context(), http.MethodPost, s.web+path, body, "Inference-Header-Content-Length", strconv.Itoa(len(head)))
		require.Equal(t, http.StatusNotFound, got.code, got.body)
		require.Contains(t, got.body, `{"error":"MODEL_NOT_FOUND: `)
	}
	got = send(t.Context(), http.MethodPost, s.web+"/v2/models/forecaster/infer", head, "Inference-Header-Content-Length", strconv.Itoa(len(head)))
	require.Equal(t, http.StatusBadRequest, got.code)
	require.JSONEq(t, `{"error": "INVALID_INPUT: window: binary_data_size is 192, 0 bytes are left"}`, got.body)
	require.Zero(t, s.stop(t), s.err.String())
}
