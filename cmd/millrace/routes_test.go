package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/model"
)

const (
	orders = "orders.requests"
	odd    = "odd.requests"
	row    = `{"inputs": [[1, 2, 3, 4]]}`
)

// brokenModel is a folder whose model is none.
func brokenModel(t *testing.T) string {
	t.Helper()
	dir := versioned(t, 3, "")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "model.onnx"), []byte("no protobuf"), 0o600))
	return dir
}

// TestTopicsAndModels is the whole path with three topics and three models, one
// of which is broken, in each mode.
func TestTopicsAndModels(t *testing.T) {
	for _, mode := range []string{atLeastOnce, exactlyOnce, queue} {
		t.Run(mode, func(t *testing.T) {
			c := newKafka(t, freePort(t))
			createAll(t, c, 2)
			require.NoError(t, c.CreateTopic(orders, 2, nil))
			require.NoError(t, c.CreateTopic(odd, 2, nil))
			broker := c.ListenAddrs()[0]
			env := home(t, "MILLRACE_DELIVERY="+mode, "MILLRACE_ROUTES="+orders+"=two, "+odd+"=broken", "MILLRACE_LAG_INTERVAL=100ms", "MILLRACE_GROUP_LAG_INTERVAL=1s")
			p := start(t, env, "worker", "--brokers", broker,
				"--model", "one="+versioned(t, 1, ""), "--model", "two="+versioned(t, 2, ""), "--model", "broken="+brokenModel(t))
			w := p.probes(t)
			ready(t, w)
			require.Regexp(t, `^{"degraded":\["model .+ is waiting: .*"\],"status":"ok"}`, get(t, w+"/readyz").body)

			cl := client(t, broker)
			type want struct {
				status  model.Code
				version string // what tells the models apart
			}
			wants := make(map[string]want)
			for i := range 40 {
				for _, to := range []struct {
					topic, model string
					want         want
				}{
					{requests, "", want{model.OK, "1"}},
					{requests, "two", want{model.OK, "2"}},
					{requests, "broken", want{model.Unavailable, ""}},
					{orders, "", want{model.OK, "2"}},
					{orders, "one", want{model.OK, "1"}},
					{odd, "", want{model.Unavailable, ""}},
					{odd, "two", want{model.OK, "2"}},
					{odd, "three", want{model.Unavailable, ""}}, // the broken folder's own name is not known
				} {
					r := &kgo.Record{Topic: to.topic, Key: fmt.Append(nil, i), Value: []byte(row)}
					if to.model != "" {
						r.Headers = []kgo.RecordHeader{{Key: wire.Model, Value: []byte(to.model)}}
					}
					require.NoError(t, cl.ProduceSync(t.Context(), r).FirstErr())
					wants[string(wire.AppendID(nil, r))] = to.want
				}
			}
			got := make(map[string]*kgo.Record)
			offsets := make(map[string]int64) // by topic and partition
			all := client(t, broker, kgo.ConsumeTopics(results), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
			for len(got) < len(wants) {
				for _, r := range all.PollFetches(t.Context()).Records() {
					id := header(r, wire.ID)
					require.NotContains(t, got, id, "once")
					got[id] = r
					at := fmt.Sprint(filepath.Dir(id), " in ", r.Partition)
					var offset int64
					_, err := fmt.Sscan(filepath.Base(id), &offset)
					require.NoError(t, err)
					if last, ok := offsets[at]; ok && mode != queue {
						require.Greater(t, offset, last, "the order of %s", at)
					}
					offsets[at] = offset
				}
			}
			for id, want := range wants {
				require.Equal(t, string(want.status), header(got[id], wire.Status), "%s: %s", id, got[id].Value)
				if want.version != "" {
					require.Regexp(t, `10(\.0)?, ?`+want.version+`(\.0)?\]`, string(got[id].Value), id)
				}
			}
			letters := client(t, broker, kgo.ConsumeTopics(dead), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
			from := make(map[string]int)
			for n := 0; n < 120; {
				for _, r := range letters.PollFetches(t.Context()).Records() {
					from[header(r, wire.DeadTopic)]++
					n++
				}
			}
			require.Equal(t, map[string]int{requests: 40, odd: 80}, from)

			gateway := start(t, env, "gateway", "--brokers", broker)
			g := gateway.gateway(t)
			for _, topic := range []string{requests, orders, odd} {
				eventually(t, func() bool {
					return counted(get(t, g+"/metrics").body, `millrace_group_lag_records{group="millrace",topic="`+topic+`"}`) == 0
				}, "no lag of %s", topic)
				require.Contains(t, get(t, w+"/metrics").body, `millrace_partition_lag_records{partition="1",topic="`+topic+`"}`)
			}
			answer := send(t.Context(), http.MethodPost, g+"/predict", row, "X-Model", "two")
			require.Equal(t, http.StatusOK, answer.code)
			require.Contains(t, answer.body, "2", "the gateway passes the name on")
			require.Zero(t, gateway.stop(t), gateway.err.String())
			require.Zero(t, p.stop(t), p.err.String())
		})
	}
}

func TestModelsComeAndGoWithTheirRequests(t *testing.T) {
	c := newKafka(t, freePort(t))
	createAll(t, c, 1)
	reg := newFakeRegistry(t)
	for k := range 3 {
		got := tool(t.Context(), reg.env(t), "", "model", "register", versioned(t, k+1, ""), "--name", "sums", "--alias", []string{"champion", "next", "last"}[k])
		require.Zero(t, got.code, got.err)
	}
	broker := c.ListenAddrs()[0]
	p := start(t, home(t, "MLFLOW_TRACKING_URI="+reg.URL, "MILLRACE_MODEL_ON_DEMAND=sum*", "MILLRACE_MODEL_MEMORY_BUDGET=1"),
		"worker", "--model", "models:/sums@champion", "--brokers", broker)
	w := p.probes(t)
	ready(t, w)
	cl := client(t, broker)
	for i, c := range []struct {
		model, version string
		status         model.Code
	}{
		{"", "1", model.OK},
		{"sums/2", "2", model.OK},
		{"sums@last", "3", model.OK},
		{"", "1", model.OK}, // which had been unloaded
		{"sums@next", "2", model.OK},
		{"sums/17", "", model.NotFound},
		{"others/1", "", model.NotFound},
		{"sums", "1", model.OK},
	} {
		key := strconv.Itoa(i)
		r := &kgo.Record{Topic: requests, Key: []byte(key), Value: []byte(row), Headers: []kgo.RecordHeader{{Key: wire.Model, Value: []byte(c.model)}}}
		require.NoError(t, cl.ProduceSync(t.Context(), r).FirstErr())
		got := first(t, broker, results, func(a *kgo.Record) bool { return string(a.Key) == key })
		require.Equal(t, string(c.status), header(got, wire.Status), "%s: %s", c.model, got.Value)
		require.Equal(t, c.version, header(got, wire.ModelVersion))
	}
	text := get(t, w+"/metrics").body
	require.Regexp(t, `millrace_model_unloads_total{model="sums",reason="budget"} [1-9]`, text)
	require.Regexp(t, `millrace_model_memory_bytes{model="sums",version="1"} [1-9]`, text)
	require.Contains(t, text, `millrace_phase_seconds_count{phase="load"}`)
	require.NotContains(t, text, "others")
	models := get(t, w+"/models").body
	require.Contains(t, models, `"state":"unloaded"`)
	require.Contains(t, models, `"on_demand":true`)
	require.Equal(t, http.StatusOK, get(t, w+"/readyz").code)
	require.NotContains(t, get(t, w+"/readyz").body, "degraded", "what is unloaded is not broken")
	require.Zero(t, p.stop(t), p.err.String())
}

func TestRoutesThatNoModelServes(t *testing.T) {
	for name, c := range map[string]struct {
		env  []string
		says string
	}{
		"no such model":   {[]string{"MILLRACE_ROUTES=a=scorer", "MILLRACE_MODEL=models:/forecaster@best", "MLFLOW_TRACKING_URI=http://x"}, "MILLRACE_ROUTES: a=scorer: MILLRACE_MODEL has no model of that name"},
		"no registry":     {[]string{"MILLRACE_MODEL_ON_DEMAND=a", "MILLRACE_MODEL=./folder"}, "MLFLOW_TRACKING_URI: it is not set, and MILLRACE_MODEL_ON_DEMAND names"},
		"no route":        {[]string{"MILLRACE_ROUTES=a", "MILLRACE_MODEL=./folder"}, `MILLRACE_ROUTES: "a" is not topic=model`},
		"two routes":      {[]string{"MILLRACE_ROUTES=a=b,a=c", "MILLRACE_MODEL=./folder"}, `MILLRACE_ROUTES: "a" has two routes`},
		"the results":     {[]string{"MILLRACE_ROUTES=inference.results=b", "MILLRACE_MODEL=./folder"}, `MILLRACE_ROUTES: "inference.results" collides with MILLRACE_TOPIC_RESULTS`},
		"no topic's name": {[]string{"MILLRACE_ROUTES=a/b=c", "MILLRACE_MODEL=./folder"}, `MILLRACE_ROUTES: "a/b" is not a legal topic name`},
	} {
		t.Run(name, func(t *testing.T) {
			got := tool(t.Context(), home(t, c.env...), "", "worker")
			require.Equal(t, exitUsage, got.code, got.err)
			require.Contains(t, got.err, c.says)
		})
	}
}
