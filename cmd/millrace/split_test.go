package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/model/onnx/onnxtest"
	"github.com/millrace/millrace/split"
)

const (
	shadows    = "inference.shadow"
	challenger = "models:/sums@challenger"
)

// promote, and abort, as a user of the registry does.
func (r *registry) point(alias, version string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.aliases[alias] = version; version == "" {
		delete(r.aliases, alias)
	}
}

// divided is a worker whose requests are divided, with what a test asks it.
type divided struct {
	*process
	t      *testing.T
	broker string
	probes string
	sent   int
}

// send asks with n keys, and returns the version that answered each.
func (d *divided) send(n int, headers ...kgo.RecordHeader) map[string]string {
	d.t.Helper()
	var recs []*kgo.Record
	asked := map[string]bool{}
	for range n {
		d.sent++
		r := &kgo.Record{Topic: requests, Key: fmt.Appendf(nil, "key-%d", d.sent), Value: []byte(`{"inputs": [[1, 2, 3, 4]]}`), Headers: headers}
		recs, asked[string(r.Key)] = append(recs, r), true
	}
	cl := client(d.t, d.broker, kgo.ConsumeTopics(results))
	defer cl.Close()
	require.NoError(d.t, cl.ProduceSync(d.t.Context(), recs...).FirstErr())
	got := map[string]string{}
	eventually(d.t, func() bool {
		cl.PollFetches(d.t.Context()).EachRecord(func(a *kgo.Record) {
			require.Equal(d.t, "ok", header(a, wire.Status), string(a.Value))
			if asked[string(a.Key)] {
				got[string(a.Key)] = header(a, wire.ModelVersion)
			}
		})
		return len(got) == n
	}, "%d answers", n)
	return got
}

// share waits until a reference takes a share.
func (d *divided) share(reference, want string) {
	d.t.Helper()
	eventually(d.t, func() bool {
		return strings.Contains(get(d.t, d.probes+"/metrics").body, `millrace_split_share_ratio{reference="`+reference+`"} `+want+"\n")
	}, "%s has a share of %s", reference, want)
}

// TestSplitFollowsAliases moves and deletes aliases under a worker's split and
// shadow: each request is answered, by the version that its key is assigned to.
func TestSplitFollowsAliases(t *testing.T) {
	c := newKafka(t, freePort(t))
	createAll(t, c, 2)
	require.NoError(t, c.CreateTopic(shadows, 2, nil))
	reg := newFakeRegistry(t)
	env := append(reg.env(t), "MLFLOW_TRACKING_URI="+reg.URL)
	for k, alias := range []string{"champion", "challenger", "shadow"} {
		got := tool(t.Context(), env, "", "model", "register", versioned(t, k+1, ""), "--name", "sums", "--alias", alias)
		require.Zero(t, got.code, got.err)
	}
	reg.point("shadow", "")
	p := start(t, home(t, "MLFLOW_TRACKING_URI="+reg.URL, "MILLRACE_MODEL=models:/sums@champion", "MILLRACE_MODEL_POLL=50ms",
		"MILLRACE_MODEL_RETRY_MIN=50ms", "MILLRACE_SPLIT="+challenger+"=30", "MILLRACE_SHADOW=models:/sums@shadow"), "worker", "--brokers", c.ListenAddrs()[0])
	d := &divided{process: p, t: t, broker: c.ListenAddrs()[0], probes: p.probes(t)}
	ready(t, d.probes)
	d.share(challenger, "0.3")

	assigned := func(k string) string {
		if split.Bucket(challenger, []byte(k)) < 3000 {
			return "2"
		}
		return "1"
	}
	got := d.send(300)
	counts := map[string]int{}
	for k, version := range got {
		require.Equal(t, assigned(k), version, k)
		counts[version]++
	}
	require.InDelta(t, 90, counts["2"], 40)
	// Who names a version or an alias gets it.
	for asked, version := range map[string]string{"sums@challenger": "2", "sums/2": "2", "sums@champion": "1", "sums/1": "1"} {
		for k, v := range d.send(20, kgo.RecordHeader{Key: wire.Model, Value: []byte(asked)}) {
			require.Equal(t, version, v, "%s for %s", k, asked)
		}
	}

	// Abort: the alias is deleted, and comes back.
	reg.point("challenger", "")
	d.share(challenger, "0")
	for _, v := range d.send(100) {
		require.Equal(t, "1", v)
	}
	var all []besideStatus
	require.NoError(t, json.Unmarshal([]byte(get(t, d.probes+"/models").body), &all))
	require.Len(t, all, 3)
	require.Equal(t, split.Status{Weight: 30, Off: "the registry does not have it"}, *all[1].Split)
	require.Equal(t, "1", all[1].Version, "the model's own version stands in: the other is not kept in memory")
	require.Equal(t, "the registry does not have it", all[2].Shadow.Off)
	reg.point("challenger", "2")
	d.share(challenger, "0.3")
	for k, v := range d.send(100) {
		require.Equal(t, assigned(k), v)
	}

	// The shadow comes.
	reg.point("shadow", "3")
	p.find(t, `the shadow runs beside the answers`)
	before := d.send(100)
	require.Equal(t, before, d.shadows(before))

	// Promotion: the champion moves to the challenger's version, which is not
	// loaded again.
	loads := func() int {
		return counted(get(t, d.probes+"/metrics").body, `millrace_model_load_seconds_count`)
	}
	was := loads()
	reg.point("champion", "2")
	eventually(t, func() bool {
		return strings.Contains(get(t, d.probes+"/models").body, `"off":"it names the version that the model itself has"`)
	}, "the challenger is the champion")
	require.Equal(t, was+1, loads(), "a load that shares what is there")
	for _, v := range d.send(100) {
		require.Equal(t, "2", v)
	}
	require.Zero(t, p.stop(t), p.err.String())
	require.NotContains(t, p.err.String(), "level=ERROR")
}

// Each mode of delivery divides alike, and shadows what it has answered; a
// version that breaks the model's signature takes nothing.
func TestSplitInEveryDelivery(t *testing.T) {
	reg := newFakeRegistry(t)
	env := append(reg.env(t), "MLFLOW_TRACKING_URI="+reg.URL)
	breaking := onnxtest.Folder{Model: onnxtest.Identity(onnxtest.Float, -1, 1), Inputs: oneFloat}.Write(t)
	for _, folder := range []string{versioned(t, 1, ""), versioned(t, 2, ""), versioned(t, 3, ""), breaking} {
		got := tool(t.Context(), env, "", "model", "register", folder, "--name", "sums")
		require.Zero(t, got.code, got.err)
	}
	for _, mode := range []string{atLeastOnce, exactlyOnce, queue} {
		t.Run(mode, func(t *testing.T) {
			c := newKafka(t, freePort(t))
			createAll(t, c, 2)
			require.NoError(t, c.CreateTopic(shadows, 2, nil))
			p := start(t, home(t, "MLFLOW_TRACKING_URI="+reg.URL, "MILLRACE_MODEL=models:/sums/1", "MILLRACE_DELIVERY="+mode,
				"MILLRACE_SPLIT=models:/sums/2=40,models:/sums/4=10", "MILLRACE_SHADOW=models:/sums/3"), "worker", "--brokers", c.ListenAddrs()[0])
			d := &divided{process: p, t: t, broker: c.ListenAddrs()[0], probes: p.probes(t)}
			ready(t, d.probes)
			d.share("models:/sums/2", "0.4")
			p.find(t, `the shadow runs beside the answers`)
			p.find(t, `reference=models:/sums/4 reason=".*its signature breaks that of the model itself`)
			got := d.send(200)
			for k, version := range got {
				want := "1"
				if split.Bucket("models:/sums/2", []byte(k)) < 4000 {
					want = "2"
				}
				require.Equal(t, want, version, k)
			}
			require.Equal(t, got, d.shadows(got))
			require.Zero(t, p.stop(t), p.err.String())
		})
	}
}

// shadows reads the results of the shadow for keys, and returns the versions
// that they say have answered.
func (d *divided) shadows(keys map[string]string) map[string]string {
	d.t.Helper()
	cl := client(d.t, d.broker, kgo.ConsumeTopics(shadows))
	defer cl.Close()
	got := map[string]string{}
	eventually(d.t, func() bool {
		cl.PollFetches(d.t.Context()).EachRecord(func(a *kgo.Record) {
			if keys[string(a.Key)] == "" {
				return
			}
			require.Equal(d.t, []string{"ok", "3", "true", wire.ShadowType}, []string{
				header(a, wire.Status), header(a, wire.ModelVersion), header(a, wire.Differs), header(a, wire.Type),
			}, string(a.Value))
			require.Regexp(d.t, `10(\.0)?, ?3(\.0)?\]`, string(a.Value))
			want := map[string]string{"1": "1", "2": "0.5"}[header(a, wire.PrimaryVersion)] // of a sum that is the same, and 3 for 1 or 2
			require.Equal(d.t, want, header(a, wire.AbsoluteDistance))
			got[string(a.Key)] = header(a, wire.PrimaryVersion)
		})
		return len(got) == len(keys)
	}, "%d results of the shadow", len(keys))
	return got
}

const oneFloat = `[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 1]}}]`

// beside gives a worker a version that fails, and a shadow that is slow and
// whose topic is not there.
func (m moved) beside(t *testing.T, c *kfake.Cluster) {
	t.Helper()
	for _, topic := range []string{"divided", "divided.results"} {
		require.NoError(t, c.CreateTopic(topic, 1, nil))
	}
	own := onnxtest.Folder{Model: onnxtest.Identity(onnxtest.Float, -1, 1), Inputs: oneFloat}.Write(t)
	picky := onnxtest.Folder{Model: onnxtest.Picky(), Inputs: oneFloat}.Write(t)
	slow := onnxtest.Folder{Model: onnxtest.Slow(300), Inputs: oneFloat}.Write(t)
	p := start(t, home(t, "MILLRACE_GROUP=divided", "MILLRACE_TOPIC_REQUESTS=divided", "MILLRACE_TOPIC_RESULTS=divided.results", "MILLRACE_MODEL="+own,
		"MILLRACE_SPLIT="+picky+"=50", "MILLRACE_SPLIT_MIN_REQUESTS=5", "MILLRACE_SHADOW="+slow, "MILLRACE_SHADOW_MAX_QUEUED=4", "MILLRACE_MAX_BATCH=2"),
		"worker", "--brokers", c.ListenAddrs()[0])
	w := p.probes(t)
	ready(t, w)
	m.until(t, w, "millrace_split_share_ratio")
	p.find(t, `the shadow runs beside the answers`)
	var bodies []string
	for i := range 60 {
		bodies = append(bodies, fmt.Sprintf(`{"inputs": [[%d]]}`, 100+i))
	}
	eventually(t, func() bool {
		produce(t, c, "divided", bodies...)
		m.scrape(t, w)
		return m["millrace_shadow_queued_records"]
	}, "the shadow is slow")
	m.until(t, w, "millrace_split_requests_total", "millrace_split_failures_total", "millrace_split_trips_total",
		"millrace_shadow_answers_total", "millrace_shadow_relative_distance", "millrace_shadow_absolute_distance", "millrace_shadow_dropped_total")
	require.Zero(t, p.stop(t), p.err.String())
	require.Contains(t, p.err.String(), "more than 10 %")
	cl := client(t, c.ListenAddrs()[0], kgo.ConsumeTopics("divided.results"))
	n := 0
	eventually(t, func() bool {
		cl.PollFetches(t.Context()).EachRecord(func(a *kgo.Record) {
			require.Equal(t, "ok", header(a, wire.Status), "the model itself answers what the other fails on")
			n++
		})
		return n >= 60
	}, "every request is answered")
}
