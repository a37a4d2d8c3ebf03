package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/millrace/millrace/model/follow"
	"github.com/millrace/millrace/model/onnx/onnxtest"
)

// together runs two workers that ask a registry as one. A delivery of the
// webhook to either has both take a promotion; a version that fails with the one
// that has all the requests is taken back by both.
func (m moved) together(t *testing.T, c *kfake.Cluster) {
	t.Helper()
	const oneFloat = `[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 1]}}]`
	const secret = "hush"
	require.NoError(t, c.CreateTopic("together", 1, nil)) // one worker has it all
	r := newFakeRegistry(t)
	for i, onnx := range [][]byte{onnxtest.Identity(onnxtest.Float, -1, 1), onnxtest.Picky()} {
		got := tool(t.Context(), r.env(t), "", "model", "register", onnxtest.Folder{Model: onnx, Inputs: oneFloat}.Write(t), "--name", "two")
		require.Zero(t, got.code, got.err)
		require.Len(t, r.versions, i+1)
	}
	r.point("champion", "1")
	var workers []string
	for range 2 {
		p := start(t, home(t, "MLFLOW_TRACKING_URI="+r.URL, "MILLRACE_GROUP=together", "MILLRACE_TOPIC_REQUESTS=together", "MILLRACE_MODEL_POLL=1h",
			"MILLRACE_MODEL_POLLER_SESSION=1s", "MILLRACE_WEBHOOK_SECRET="+secret), "worker", "--model", "models:/two@champion", "--brokers", c.ListenAddrs()[0])
		workers = append(workers, p.probes(t))
	}
	eventually(t, func() bool {
		elected := 0
		for _, w := range workers {
			elected += counted(m.scrape(t, w), "millrace_model_poller")
		}
		return elected == 1
	}, "one is elected")
	status := func(w string) (s follow.Status) {
		var all []follow.Status
		require.NoError(t, json.Unmarshal([]byte(get(t, w+"/models").body), &all))
		return all[0]
	}
	both := func(version string) {
		t.Helper()
		for _, w := range workers {
			eventually(t, func() bool { return status(w).Version == version }, "%s serves version %s", w, version)
		}
	}
	both("1")

	r.point("champion", "2")
	unsigned := send(t.Context(), http.MethodPost, workers[0]+"/webhooks/mlflow", "{}")
	require.Equal(t, http.StatusUnauthorized, unsigned.code)
	require.Equal(t, http.StatusMethodNotAllowed, get(t, workers[0]+"/webhooks/mlflow").code)
	for _, w := range workers { // which of them is elected makes no difference
		require.Equal(t, http.StatusAccepted, deliver(t, w, secret))
	}
	both("2")

	produce(t, c, "together", slices.Repeat([]string{`{"inputs": [[100]]}`}, 100)...)
	both("1")
	for _, w := range workers {
		eventually(t, func() bool {
			s := status(w)
			return s.LeftAlone != nil && s.LeftAlone.Version == "2"
		}, "%s leaves the version alone", w)
		m.scrape(t, w)
	}
	reasons := []string{status(workers[0]).LeftAlone.By, status(workers[1]).LeftAlone.By}
	require.Contains(t, reasons, "", "one found so, or both did")
	require.True(t, m["millrace_model_announcements_total"] && m["millrace_webhooks_total"] && m["millrace_model_unannounced_polls_total"])
}

// deliver sends what MLflow's webhook sends.
func deliver(t *testing.T, worker, secret string) int {
	t.Helper()
	const body = `{"entity": "model_version_alias", "action": "created", "timestamp": "2026-01-01T00:00:00+00:00", "data": {"name": "two", "alias": "champion", "version": "2"}}`
	at := strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = fmt.Fprintf(mac, "%s.%s.%s", "an id", at, body)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, worker+"/webhooks/mlflow", bytes.NewReader([]byte(body)))
	require.NoError(t, err)
	req.Header.Set("X-MLflow-Delivery-Id", "an id")
	req.Header.Set("X-MLflow-Timestamp", at)
	req.Header.Set("X-MLflow-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode
}
