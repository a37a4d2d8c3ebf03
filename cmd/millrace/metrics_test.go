package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/model/onnx/onnxtest"
)

const replies = "inference.replies"

// declared lists the series that package metrics names.
func declared() []string {
	var c names
	metrics.NewConsumer(&c)
	metrics.NewQueue(&c)
	metrics.NewWorker(&c)
	metrics.NewProducer(&c)
	metrics.NewModels(&c)
	metrics.NewRemote(&c)
	metrics.NewSplit(&c)
	metrics.NewShadow(&c)
	metrics.NewAnnounce(&c)
	metrics.NewGateway(&c)
	metrics.NewPredictions(&c)
	metrics.NewTracing(&c)
	slices.Sort(c.list)
	return c.list
}

// names is a Registerer that keeps the names of what is registered.
type names struct {
	prometheus.Registerer
	list []string
}

func (n *names) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		descs := make(chan *prometheus.Desc, 1)
		c.Describe(descs)
		n.list = append(n.list, regexp.MustCompile(`fqName: "([^"]*)"`).FindStringSubmatch((<-descs).String())[1])
	}
}

// Renaming a series breaks who queries it: the list is changed by hand.
func TestNamesOfSeries(t *testing.T) {
	golden, err := os.ReadFile(filepath.Join("testdata", "series.txt"))
	require.NoError(t, err)
	require.Equal(t, strings.Fields(string(golden)), declared())
}

// moved notes which series were ever seen with a value other than 0.
type moved map[string]bool

// scrape looks at a process's series.
func (m moved) scrape(t *testing.T, url string) string {
	t.Helper()
	text := get(t, url+"/metrics").body
	for line := range strings.Lines(text) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.HasPrefix(line, "#") {
			continue
		}
		if labels := strings.IndexByte(name, '{'); labels >= 0 { // whose values may hold spaces
			name, rest = name[:labels], line[strings.LastIndexByte(line, '}')+1:]
		}
		if value, err := strconv.ParseFloat(strings.TrimSpace(rest), 64); err == nil && value != 0 {
			m[strings.TrimSuffix(name, "_count")] = true
		}
	}
	return text
}

// until scrapes until all of the series have moved.
func (m moved) until(t *testing.T, url string, series ...string) {
	t.Helper()
	eventually(t, func() bool {
		m.scrape(t, url)
		return !slices.ContainsFunc(series, func(name string) bool { return !m[name] })
	}, "%v move", series)
}

// elsewhere names the tests that move series which take more than two processes
// to move: they run the real part against a broker, and look at the value.
func elsewhere() map[string]string {
	const guard, resume, retry = "../../consumer/guard_test.go", "../../consumer/resume_test.go", "../../consumer/retry_test.go"
	const queue, alone = "../../sharegroup/queue_test.go", "../../sharegroup/alone_test.go"
	const python = "../../integration/pyfunc_test.go"
	return map[string]string{
		"millrace_blocked_partitions":                           guard,
		"millrace_dead_letters_given_up_total":                  "../../producer/deadletter_test.go",
		"millrace_gateway_auth_errors_total":                    "../../gateway/identity_test.go",
		"millrace_gateway_certificate_expiry_timestamp_seconds": "../../gateway/identity_test.go",
		"millrace_gateway_predictions_evicted_total":            "../../gateway/predictions/store_test.go",
		"millrace_isolated_records_total":                       guard,
		"millrace_model_unloads_total":                          "routes_test.go",
		"millrace_model_process_resident_bytes":                 python,
		"millrace_model_process_restarts_total":                 python,
		"millrace_partition_blocks_total":                       guard,
		"millrace_partition_pauses_total":                       resume,
		"millrace_paused_partitions":                            resume,
		"millrace_poison_records_total":                         guard,
		"millrace_predict_timeouts_total":                       "../../worker/predict_test.go",
		"millrace_queue_exhausted_records_total":                queue,
		"millrace_queue_isolated_records_total":                 alone,
		"millrace_queue_redelivered_records_total":              queue,
		"millrace_restored_records_total":                       resume,
		"millrace_gateway_access_lines_suppressed_total":        "../../gateway/access_test.go",
		"millrace_trace_spans_exported_total":                   "traces_test.go",
		"millrace_trace_spans_failed_total":                     "traces_test.go",
		"millrace_trace_spans_total":                            "traces_test.go",
		"millrace_unclean_ends_total":                           guard,
		"millrace_unpublishable_records_total":                  retry,
	}
}

// TestEverySeriesMoves drives a worker and a gateway through all that can
// happen to them and watches their series over HTTP.
func TestEverySeriesMoves(t *testing.T) {
	c := newKafka(t, freePort(t))
	createAll(t, c, 2)
	broker := c.ListenAddrs()[0]
	folder := t.TempDir()
	picky := onnxtest.Folder{Model: onnxtest.Picky(), Inputs: oneFloat}
	picky.WriteTo(t, folder)
	slow := onnxtest.Folder{Model: onnxtest.Slow(1000), Inputs: oneFloat}.Write(t)
	worker := start(t, home(t, "MILLRACE_MODEL="+folder+",slow="+slow, "MILLRACE_MAX_BATCH=4", "MILLRACE_MODEL_POLL=100ms", "MILLRACE_LAG_INTERVAL=100ms", "MILLRACE_COMMIT_INTERVAL=50ms",
		"MILLRACE_EXECUTORS=1", "MILLRACE_BATCH_DELAY=200ms", "MILLRACE_PRODUCER_MAX_BUFFERED=1", "MILLRACE_PRODUCER_RETRY_BACKOFF=50ms"),
		"worker", "--brokers", broker)
	gateway := start(t, home(t, "MILLRACE_GATEWAY_MAX_WAITING=1", "MILLRACE_GROUP_LAG_INTERVAL=1s"), "gateway", "--brokers", broker)
	w, g := worker.probes(t), gateway.gateway(t)
	ready(t, w)
	ready(t, g)
	seen := moved{}

	// One of a batch is at fault.
	produce(t, c, requests, `{"inputs": [[1]]}`, `{"inputs": [[100]]}`, `{"inputs": [[2]]}`, `{"inputs": [[3]]}`)
	seen.until(t, w, "millrace_batch_splits_total", "inference_errors_total", "millrace_dead_letters_total")
	// One that takes its time.
	eventually(t, func() bool {
		ask(t, c, "slow", `{"inputs": [[1]]}`)
		seen.scrape(t, w)
		return seen["millrace_running_records"]
	}, "running")
	// An ordinary request.
	require.Equal(t, http.StatusOK, send(t.Context(), http.MethodPost, g+"/predict", `{"inputs": [[4]]}`).code)
	// One whose answer is fetched later.
	require.Equal(t, http.StatusAccepted, send(t.Context(), http.MethodPost, g+"/predict", `{"inputs": [[4]]}`, "Prefer", "respond-async").code)
	seen.until(t, g, "millrace_gateway_predictions", "millrace_gateway_predictions_bytes")
	// A caller that goes away while its request waits for its batch to fill.
	eventually(t, func() bool {
		short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		send(short, http.MethodPost, g+"/predict", `{"inputs": [[4]]}`)
		seen.scrape(t, w)
		return seen["millrace_cancelled_requests_total"]
	}, "cancelled")
	// The broker takes no answers: all that waits is seen to wait.
	held := c.Fault(
		kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: results, Err: kerr.NotLeaderForPartition, Count: -1},
		kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: replies, Err: kerr.NotLeaderForPartition, Count: -1},
	)
	impatient, leave := context.WithCancel(t.Context())
	gone := make(chan reply, 1)
	go func() { gone <- send(impatient, http.MethodPost, g+"/predict", `{"inputs": [[5]]}`) }()
	seen.until(t, g, "millrace_gateway_waiting_requests")
	require.Equal(t, http.StatusServiceUnavailable, send(t.Context(), http.MethodPost, g+"/predict", `{"inputs": [[6]]}`).code)
	leave()
	<-gone
	seen.until(t, g, "millrace_gateway_refused_requests_total", "millrace_gateway_client_gone_total")
	produce(t, c, requests, slices.Repeat([]string{`{"inputs": [[7]]}`}, 40)...)
	seen.until(t, w, "millrace_queued_records", "millrace_in_flight_records", "millrace_in_flight_bytes", "millrace_publish_pending_records",
		"millrace_partition_lag_records", "millrace_partition_lag_seconds", "millrace_oldest_record_age_seconds", "inference_queue_len")
	seen.until(t, g, "millrace_group_lag_records", "millrace_group_lag_seconds", "millrace_gateway_workers", "millrace_gateway_breaker_state", "millrace_gateway_cards")
	held.Remove()
	seen.until(t, g, "millrace_gateway_orphan_replies_total")
	// The broker refuses for a while.
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: results, Err: kerr.PolicyViolation})
	produce(t, c, requests, `{"inputs": [[8]]}`)
	seen.until(t, w, "millrace_publish_errors_total")
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: requests, Err: kerr.TopicAuthorizationFailed, Count: 2})
	produce(t, c, requests, `{"inputs": [[9]]}`) // ends the fetch that waits
	seen.until(t, w, "millrace_fetch_errors_total")
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Group: "millrace", Err: kerr.GroupAuthorizationFailed, Count: 2})
	seen.until(t, g, "millrace_group_lag_errors_total")
	// A new version of the model comes.
	picky.Files = map[string][]byte{"README.md": []byte("second")}
	picky.WriteTo(t, folder)
	seen.until(t, w, "millrace_model_swaps_total")

	lintSeries(t, seen.scrape(t, w)+seen.scrape(t, g))
	require.Zero(t, gateway.stop(t), gateway.err.String())
	require.Zero(t, worker.stop(t), worker.err.String())
	seen.queue(t, c)
	seen.remote(t, c)
	seen.rollback(t, c)
	seen.together(t, c)
	seen.stall(t, c)
	seen.beside(t, c)

	for _, name := range declared() {
		if file, ok := elsewhere()[name]; ok {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Contains(t, string(text), name, file)
			continue
		}
		require.True(t, seen[name], "%s is declared and was never moved", name)
	}
	for _, name := range []string{"go_goroutines", "process_start_time_seconds", "go_build_info"} {
		require.True(t, seen[name], name)
	}
}

// stall lets a worker's watchdog trip.
func (m moved) stall(t *testing.T, c *kfake.Cluster) {
	t.Helper()
	p := start(t, home(t, "MILLRACE_GROUP=stalling", "MILLRACE_WATCHDOG_TIMEOUT=200ms", "MILLRACE_COMMIT_INTERVAL=50ms", "MILLRACE_REVOKE_DRAIN_TIMEOUT=1s",
		"MILLRACE_PRODUCER_CLOSE_TIMEOUT=100ms"), "worker", "--model", bundledRef, "--brokers", c.ListenAddrs()[0])
	hold(c, results)
	m.until(t, p.probes(t), "millrace_watchdog_trips_total")
	require.Equal(t, exitFailed, p.wait(t))
}

// queue runs a worker that takes requests from a share group.
func (m moved) queue(t *testing.T, c *kfake.Cluster) {
	t.Helper()
	p := start(t, home(t, "MILLRACE_DELIVERY=queue", "MILLRACE_GROUP=queue"), "worker", "--model", bundledRef, "--brokers", c.ListenAddrs()[0])
	m.until(t, p.probes(t), "millrace_queue_acks_total")
	require.Zero(t, p.stop(t), p.err.String())
}

// counted reads a series' value from a scrape, -1 when it is not there.
func counted(text, series string) int {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(value))
			return n
		}
	}
	return -1
}

// lintSeries holds the series to Prometheus's conventions, save for the names
// that existing queries stand on.
func lintSeries(t *testing.T, text string) {
	t.Helper()
	begin := strings.LastIndex(text, "# HELP go_build_info") // the second scrape repeats what is the process's own
	own := strings.Join(slices.DeleteFunc(strings.SplitAfter(text[begin:], "\n"), func(line string) bool {
		return !strings.Contains(line, "millrace_") && !strings.Contains(line, "inference_")
	}), "")
	problems, err := promlint.New(strings.NewReader(text[:begin] + own)).Lint()
	require.NoError(t, err)
	var got []string
	for _, p := range problems {
		got = append(got, fmt.Sprintf("%s: %s", p.Metric, p.Text))
	}
	require.Empty(t, got)
}

// produce writes requests to one partition, in one batch.
func produce(t *testing.T, c *kfake.Cluster, topic string, values ...string) {
	t.Helper()
	var recs []*kgo.Record
	for _, v := range values {
		recs = append(recs, &kgo.Record{Topic: topic, Value: []byte(v)})
	}
	cl := client(t, c.ListenAddrs()[0], kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(20*time.Millisecond))
	require.NoError(t, cl.ProduceSync(t.Context(), recs...).FirstErr())
}

// ask writes a request for a model.
func ask(t *testing.T, c *kfake.Cluster, model, value string) {
	t.Helper()
	r := &kgo.Record{Topic: requests, Value: []byte(value), Headers: []kgo.RecordHeader{{Key: wire.Model, Value: []byte(model)}}}
	cl := client(t, c.ListenAddrs()[0])
	defer cl.Close()
	require.NoError(t, cl.ProduceSync(t.Context(), r).FirstErr())
}
