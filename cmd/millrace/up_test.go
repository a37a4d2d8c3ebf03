package main

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/bundled"
	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/model"
)

// system is a running `millrace up`.
type system struct {
	*process
	web    string // the gateway
	worker string // the probes
	broker string
	kafka  *kgo.Client
}

const (
	requests = "inference.requests"
	results  = "inference.results"
	dead     = "dlq.inference.requests"
)

func startUp(t *testing.T, env []string, args ...string) *system {
	t.Helper()
	p := start(t, env, append([]string{"up"}, args...)...)
	p.find(t, "Ctrl-C drains and ends")
	s := &system{
		process: p, web: p.find(t, `(?m)^  gateway +(http://\S+)`), worker: p.find(t, `(?m)^  worker +(http://\S+)`), broker: p.find(t, `(?m)^  kafka +(\S+)`),
	}
	s.kafka = client(t, s.broker)
	return s
}

func client(t *testing.T, broker string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(broker), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxWait(50*time.Millisecond), kgo.MetadataMinAge(50*time.Millisecond), kgo.RecordDeliveryTimeout(patience))...)
	require.NoError(t, err)
	t.Cleanup(cl.Close)
	return cl
}

// ask produces a request and returns where it stands.
func (s *system) ask(t *testing.T, r *kgo.Record) string {
	t.Helper()
	r.Topic = requests
	require.NoError(t, s.kafka.ProduceSync(t.Context(), r).FirstErr())
	return string(wire.AppendID(nil, r))
}

// first waits for a topic's first record that match picks.
func first(t *testing.T, broker, topic string, match func(*kgo.Record) bool) *kgo.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cl := client(t, broker, kgo.ConsumeTopics(topic))
	for {
		fetches := cl.PollFetches(ctx)
		require.NoError(t, fetches.Err())
		for iter := fetches.RecordIter(); !iter.Done(); {
			if r := iter.Next(); match(r) {
				return r
			}
		}
	}
}

func answers(id string) func(*kgo.Record) bool {
	return func(r *kgo.Record) bool { return header(r, wire.ID) == id }
}

func header(r *kgo.Record, key string) string {
	v, _ := wire.Header(r, key)
	return string(v)
}

func window(i int) string { return string(bundled.Examples()[i].Body()) }

func TestUpAnswersOverKafkaAndOverHTTP(t *testing.T) {
	env := home(t)
	s := startUp(t, env, "--kafka-port", "0")
	require.Regexp(t, `inference_errors_total\{code="MODEL_FAILED",model="forecaster",version="[0-9a-f]+"\} 0\n`, get(t, s.worker+"/metrics").body,
		"what will be counted is there before it happens")

	id := s.ask(t, &kgo.Record{Key: []byte("k"), Value: []byte(window(3)), Headers: []kgo.RecordHeader{{Key: wire.CorrelationID, Value: []byte("c-1")}}})
	r := first(t, s.broker, results, answers(id))
	require.Equal(t, "k", string(r.Key))
	require.Equal(t, "ok", header(r, wire.Status), string(r.Value))
	require.Equal(t, "c-1", header(r, wire.CorrelationID))
	require.Equal(t, bundled.Name, header(r, wire.ModelName))
	var forecast struct {
		Predictions map[string][][]float64 `json:"predictions"`
	}
	require.NoError(t, json.Unmarshal(r.Value, &forecast), string(r.Value))
	for _, rows := range forecast.Predictions {
		require.Len(t, rows[0], 12, "hours")
		require.InDelta(t, float64(bundled.Examples()[3].Next[0]), rows[0][0], 15, "degrees: it is a forecast of this window")
	}
	require.Len(t, forecast.Predictions, 1)

	got := send(t.Context(), http.MethodPost, s.web+"/predict", window(3), "Content-Type", "application/json")
	require.Equal(t, http.StatusOK, got.code, got.body)
	require.Equal(t, string(r.Value), got.body, "the body is the record's value")
	require.Equal(t, header(r, wire.ModelVersion), got.header.Get("X-Model-Version"))

	for _, url := range []string{s.web + "/healthz", s.web + "/readyz", s.web + "/prometheus", s.worker + "/healthz", s.worker + "/readyz", s.worker + "/prometheus"} {
		require.Equal(t, http.StatusOK, get(t, url).code, url)
	}
	models := get(t, s.worker+"/models")
	require.Contains(t, models.body, `"reference":"bundled","state":"serving","name":"forecaster"`)
	require.Equal(t, http.StatusMethodNotAllowed, send(t.Context(), http.MethodPost, s.worker+"/models", "").code)

	require.Zero(t, s.stop(t), s.err.String())
	tmp, err := os.ReadDir(strings.TrimPrefix(env[1], "TMPDIR="))
	require.NoError(t, err)
	require.Empty(t, tmp, "the broker's folder is removed")
}

// The lines that up prints are run as they are.
func TestUpPrintsLinesThatWork(t *testing.T) {
	s := startUp(t, home(t), "--kafka-port", "0")
	lines := regexp.MustCompile(`(?m)^  (curl|printf|kcat) .*$`).FindAllString(s.out.String(), -1)
	require.Len(t, lines, 3)
	for _, line := range lines {
		t.Run(strings.Fields(line)[0], func(t *testing.T) {
			for _, tool := range []string{"curl", "kcat"} {
				if _, err := exec.LookPath(tool); err != nil && strings.Contains(line, tool+" ") {
					t.Skip(tool + " is not here")
				}
			}
			run := func() string {
				out, err := exec.CommandContext(t.Context(), "sh", "-c", line).Output()
				require.NoError(t, err, line)
				return string(out)
			}
			switch strings.Fields(line)[0] {
			case "curl":
				require.Contains(t, run(), `{"predictions"`)
			case "printf":
				require.Empty(t, run())
			case "kcat":
				eventually(t, func() bool {
					out := run()
					return strings.Contains(out, "example content-type=application/json") && strings.Contains(out, `{"predictions"`)
				}, "the result of the line before")
			}
		})
	}
}

func TestUpAnswersBadRequestsWithTheirCode(t *testing.T) {
	s := startUp(t, home(t, "MILLRACE_MAX_ROWS=2", "MILLRACE_MAX_REQUEST_BYTES=2000"), "--kafka-port", "0")
	with := func(key, value string) []kgo.RecordHeader {
		return []kgo.RecordHeader{{Key: key, Value: []byte(value)}}
	}
	for name, c := range map[string]struct {
		value   string
		null    bool
		headers []kgo.RecordHeader
		code    model.Code
	}{
		"not JSON":                {value: `{"inputs": `, code: model.InvalidInput},
		"no dialect's":            {value: `{"question": 1}`, code: model.InvalidInput},
		"wrong type":              {value: `{"inputs": {"window": [["a", "b"]]}}`, code: model.InvalidInput},
		"wrong shape":             {value: `{"inputs": {"window": [[1, 2, 3]]}}`, code: model.InvalidInput},
		"missing input":           {value: `{"inputs": {"windows": [[1]]}}`, code: model.InvalidInput},
		"too many rows":           {value: `{"inputs": {"window": [` + strings.Repeat(`[`+strings.Repeat("1,", 47)+`1],`, 2) + `[` + strings.Repeat("1,", 47) + `1]]}}`, code: model.TooLarge},
		"too large":               {value: strings.Repeat(" ", 2001), code: model.TooLarge},
		"a tombstone":             {null: true, code: model.InvalidInput},
		"unknown model":           {value: window(0), headers: with(wire.Model, "other"), code: model.NotFound},
		"expired":                 {value: window(0), headers: with(wire.ExpiryTime, "2020-01-01T00:00:00Z"), code: model.DeadlineExceeded},
		"a deadline that is none": {value: window(0), headers: with(wire.ExpiryTime, "soon"), code: model.InvalidInput},
		"unknown content type":    {value: window(0), headers: with(wire.ContentType, "image/png"), code: model.UnsupportedMediaType},
		"a foreign reply topic":   {value: window(0), headers: with(wire.ReplyTopic, "secrets"), code: model.InvalidInput},
	} {
		t.Run(name, func(t *testing.T) {
			r := &kgo.Record{Key: []byte(name), Value: []byte(c.value), Headers: c.headers}
			if c.null {
				r.Value = nil
			}
			id := s.ask(t, r)
			about := func(r *kgo.Record) bool { return string(r.Key) == name }
			answer := first(t, s.broker, results, about)
			require.Equal(t, id, header(answer, wire.ID))
			require.Equal(t, string(c.code), header(answer, wire.Status), string(answer.Value))
			require.Contains(t, string(answer.Value), string(c.code))
			letter := first(t, s.broker, dead, about)
			require.Equal(t, c.value, string(letter.Value))
			require.Equal(t, string(c.code), header(letter, "__dlq.errors.code"))
			require.Equal(t, requests, header(letter, "__dlq.errors.topic"))
		})
	}
	// Nothing is skipped or stuck: all of it is committed, and the next request is answered.
	require.Equal(t, http.StatusOK, send(t.Context(), http.MethodPost, s.web+"/predict", window(0)).code)
	lag := kadm.NewClient(s.kafka)
	eventually(t, func() bool {
		got, err := lag.Lag(t.Context(), "millrace")
		return err == nil && got["millrace"].Lag.Total() == 0
	}, "committed to the end")
}

func TestUpKeepsItsDataOverARestart(t *testing.T) {
	data, env := filepath.Join(t.TempDir(), "data"), home(t)
	s := startUp(t, env, "--kafka-port", "0", "--data-dir", data)
	id := s.ask(t, &kgo.Record{Value: []byte(window(1))})
	before := first(t, s.broker, results, answers(id))

	second := tool(t.Context(), env, "", "up", "--kafka-port", "0", "--data-dir", data)
	require.Equal(t, exitFailed, second.code)
	require.Contains(t, second.err, data+" is in use by another millrace up")
	require.Zero(t, s.stop(t))

	s = startUp(t, env, "--kafka-port", "0", "--data-dir", data)
	again := first(t, s.broker, results, answers(id))
	require.Equal(t, before.Value, again.Value)
	require.Equal(t, before.Timestamp, again.Timestamp)
	// The offset was kept as well: what comes next is the only thing consumed.
	next := s.ask(t, &kgo.Record{Value: []byte(window(2))})
	first(t, s.broker, results, answers(next))
	require.Contains(t, get(t, s.worker+"/metrics").body, "\nmillrace_consumed_records_total 1\n")
}

// A Kafka of the user's own gets the topics that it lacks.
func TestUpOnAnotherKafka(t *testing.T) {
	own := startUp(t, home(t), "--kafka-port", "0")
	s := startUp(t, home(t, "MILLRACE_TOPIC_REQUESTS=in", "MILLRACE_TOPIC_RESULTS=out", "MILLRACE_TOPIC_REPLIES=back", "MILLRACE_TOPIC_DLQ=bad",
		"MILLRACE_TOPIC_PARTITIONS=3", "MILLRACE_GROUP=other"), "--brokers", own.broker)
	require.Equal(t, own.broker, s.broker)
	require.Equal(t, http.StatusOK, send(t.Context(), http.MethodPost, s.web+"/predict", window(0)).code, "replies go to their topic, whatever its name")
	topics, err := kadm.NewClient(own.kafka).ListTopics(t.Context(), "in", "out", "back", "bad")
	require.NoError(t, err)
	for _, topic := range topics {
		require.Len(t, topic.Partitions, 3, topic.Topic)
	}
}

// What up cannot have is one line that says what to do.
func TestUpSaysWhatItLacks(t *testing.T) {
	s := startUp(t, home(t), "--kafka-port", "0")
	host := strings.TrimPrefix
	for name, c := range map[string]struct {
		args []string
		env  []string
		says string
	}{
		"the broker's port":   {args: []string{"--kafka-port", host(s.broker, "127.0.0.1:")}, says: "is taken by another process: choose another with --kafka-port"},
		"the gateway's port":  {args: []string{"--kafka-port", "0", "--addr", host(s.web, "http://")}, says: "choose another address with MILLRACE_GATEWAY_ADDR"},
		"the worker's port":   {args: []string{"--kafka-port", "0", "--admin-addr", host(s.worker, "http://")}, says: "choose another address with MILLRACE_ADMIN_ADDR"},
		"the runtime":         {args: []string{"--kafka-port", "0"}, env: []string{"MILLRACE_ONNXRUNTIME_LIB=/nowhere/lib.so"}, says: "run `make onnxruntime`, or set MILLRACE_ONNXRUNTIME_LIB"},
		"a folder to keep in": {args: []string{"--kafka-port", "0", "--data-dir", "/dev/null/x"}, says: "broker's folder: mkdir /dev/null"},
	} {
		t.Run(name, func(t *testing.T) {
			got := tool(t.Context(), home(t, c.env...), "", append([]string{"up"}, c.args...)...)
			require.Equal(t, exitFailed, got.code, got.err)
			lines := strings.Split(strings.TrimSpace(got.err), "\n")
			require.Contains(t, lines[len(lines)-1], c.says)
			require.True(t, strings.HasPrefix(lines[len(lines)-1], "millrace: "), lines)
		})
	}
}
