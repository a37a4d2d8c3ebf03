package main

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/model/follow"
	"github.com/millrace/millrace/model/onnx/onnxtest"
)

// rollback gives a worker a version that is compared, serves, and fails most of
// what it is asked. Every request is answered.
func (m moved) rollback(t *testing.T, c *kfake.Cluster) {
	t.Helper()
	const oneFloat = `[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 1]}}]`
	const example = `{"inputs": [[5.0]]}`
	require.NoError(t, c.CreateTopic("rollback", 1, nil))
	require.NoError(t, c.CreateTopic("rolled", 1, nil))
	dir := t.TempDir()
	onnxtest.Folder{Model: onnxtest.Identity(onnxtest.Float, -1, 1), Inputs: oneFloat, Example: example}.WriteTo(t, dir)
	p := start(t, home(t, "MILLRACE_GROUP=rollback", "MILLRACE_TOPIC_REQUESTS=rollback", "MILLRACE_TOPIC_RESULTS=rolled", "MILLRACE_MODEL_POLL=100ms"),
		"worker", "--model", dir, "--brokers", c.ListenAddrs()[0])
	w := p.probes(t)
	ready(t, w)
	status := func() (s follow.Status) {
		var all []follow.Status
		require.NoError(t, json.Unmarshal([]byte(get(t, w+"/models").body), &all))
		require.Len(t, all, 1)
		return all[0]
	}
	first := status().Version
	cl := client(t, c.ListenAddrs()[0], kgo.ConsumeTopics("rolled"))
	var answers []*kgo.Record
	answered := func(n int) {
		t.Helper()
		eventually(t, func() bool {
			answers = append(answers, cl.PollFetches(t.Context()).Records()...)
			return len(answers) == n
		}, "%d requests are answered", n)
	}
	produce(t, c, "rollback", slices.Repeat([]string{`{"inputs": [[5]]}`}, 50)...)
	answered(50)

	onnxtest.Folder{Model: onnxtest.Picky(), Inputs: oneFloat, Example: example}.WriteTo(t, dir)
	m.until(t, w, "millrace_model_on_probation", "millrace_model_distance")
	st := status()
	require.Equal(t, first, st.Probation.Previous)
	require.InDelta(t, .5, st.Comparison.Distance, 1e-6, "5 and 10")
	const failing = 200
	produce(t, c, "rollback", slices.Repeat([]string{`{"inputs": [[100]]}`}, failing)...)
	m.until(t, w, "millrace_model_rollbacks_total", "millrace_model_left_alone", "millrace_model_steps_total", "millrace_model_step_seconds")
	produce(t, c, "rollback", slices.Repeat([]string{`{"inputs": [[100]]}`}, 20)...)
	st = status()
	require.Equal(t, first, st.Version)
	require.NotEqual(t, first, st.LeftAlone.Version)
	require.Equal(t, follow.ReasonFailures, st.LeftAlone.Reason)
	require.Nil(t, st.Probation)
	var steps []string
	for _, s := range st.History {
		steps = append(steps, s.Step)
	}
	require.Equal(t, []string{
		"resolved", "downloaded", "loaded", "warmed", "swapped",
		"resolved", "downloaded", "loaded", "warmed", "compared", "swapped", "swapped", "rolled_back",
	}, steps)

	answered(50 + failing + 20)
	for _, a := range slices.Concat(answers[:50], answers[50+failing:]) {
		version, _ := wire.Header(a, wire.ModelVersion)
		result, _ := wire.Header(a, wire.Status)
		require.Equal(t, []string{first, "ok"}, []string{string(version), string(result)})
	}
	require.Zero(t, p.stop(t), p.err.String())
}
