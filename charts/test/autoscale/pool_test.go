//go:build autoscale

package autoscale

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const kafka = "127.0.0.1:9092"

// start runs a program until stop, or the end of all. Its log stays in the run's
// folder.
func (l *lab) start(t *testing.T, name string, argv ...string) (stop func()) {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(l.dir, "logs", name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, l.dir
	require.NoError(t, cmd.Start())
	ended := false
	stop = func() {
		if ended {
			return
		}
		ended = true
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		kill := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait() // by a signal
		kill.Stop()
		_ = log.Close()
	}
	l.cleanup(stop)
	return stop
}

// await waits for up to two minutes.
func await(t *testing.T, says string, ok func(context.Context) bool) {
	t.Helper()
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		return ok(ctx)
	}, 2*time.Minute, 200*time.Millisecond, says)
}

// fetched is what a script of the repository has fetched.
func (l *lab) fetched(t *testing.T, script string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), filepath.Join(l.root, "scripts", script)).Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}

// kafka starts the real one.
func (l *lab) kafka(t *testing.T) {
	t.Helper()
	const controller = "127.0.0.1:9093"
	conf := filepath.Join(l.dir, "server.properties")
	require.NoError(t, os.WriteFile(conf, fmt.Appendf(nil, `process.roles=broker,controller
node.id=1
controller.quorum.voters=1@%s
listeners=PLAINTEXT://%s,CONTROLLER://%s
controller.listener.names=CONTROLLER
log.dirs=%s
offsets.topic.replication.factor=1
`, controller, kafka, controller, filepath.Join(l.dir, "kafka")), 0o600))
	jars := filepath.Join(l.fetched(t, "fetch-kafka.sh"), "*")
	java := func(args ...string) []string {
		return append([]string{"java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", jars}, args...)
	}
	format := java("kafka.tools.StorageTool", "format", "--cluster-id", "bWlsbHJhY2UtdGVzdHMtMQ", "--config", conf)
	said, err := exec.CommandContext(t.Context(), format[0], format[1:]...).CombinedOutput()
	require.NoError(t, err, "%s", said)
	l.start(t, "kafka", java("kafka.Kafka", conf)...)
}

// topics does what the chart's job does, for nobody runs jobs here.
func (l *lab) topics(t *testing.T) {
	t.Helper()
	program := filepath.Join(l.root, "bin/millrace")
	require.FileExists(t, program, "run `make build onnxruntime`")
	cmd := exec.CommandContext(t.Context(), program, "topics", "create")
	cmd.Env = []string{"MILLRACE_KAFKA_BROKERS=" + kafka}
	said, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", said)
}

// prometheus starts the real one, which scrapes what the chart annotates, as often as
// its own default and the chart's say.
func (l *lab) prometheus(t *testing.T) {
	t.Helper()
	conf := filepath.Join(l.dir, "prometheus.yml")
	require.NoError(t, os.WriteFile(conf, []byte(`global: { scrape_interval: 15s }
scrape_configs:
- job_name: pods
  http_sd_configs: [{ url: "http://`+targets+`/", refresh_interval: 5s }]
`), 0o600))
	l.stopPrometheus = l.start(t, "prometheus", filepath.Join(l.fetched(t, "fetch-prometheus.sh"), "prometheus"), "--config.file="+conf,
		"--storage.tsdb.path="+filepath.Join(l.dir, "prometheus"), "--web.listen-address="+prometheus)
	await(t, "Prometheus is ready", func(ctx context.Context) bool { return ok(ctx, "http://"+prometheus+"/-/ready") })
}

func ok(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// endpoint is a model behind the V2 protocol, as slow as it is told to be.
type endpoint struct{ delay atomic.Int64 }

func serveModel(t *testing.T) *endpoint {
	t.Helper()
	e := &endpoint{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"name": "endpoint", "version": "1", "extensions": []string{}})
	})
	for _, path := range []string{"/v2/models/forecaster", "/v2/models/forecaster/versions/1"} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			answer(w, map[string]any{
				"name": "forecaster", "versions": []string{"1"}, "platform": "autoscale",
				"inputs":  []any{map[string]any{"name": "window", "datatype": "FP32", "shape": []int{-1, 48}}},
				"outputs": []any{map[string]any{"name": "forecast", "datatype": "FP32", "shape": []int{-1, 12}}},
			})
		})
		mux.HandleFunc("GET "+path+"/ready", func(w http.ResponseWriter, _ *http.Request) {
			answer(w, map[string]any{"name": "forecaster", "ready": true})
		})
		mux.HandleFunc("POST "+path+"/infer", e.infer)
	}
	serve(t, "127.0.0.1:9000", mux)
	return e
}

// takes sets the time of one call.
func (e *endpoint) takes(d time.Duration) { e.delay.Store(int64(d)) }

// infer forecasts that all stays as it was.
func (e *endpoint) infer(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Inputs []struct {
			Shape []int
			Data  []float32
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || len(asked.Inputs) != 1 || len(asked.Inputs[0].Data) != 48*asked.Inputs[0].Shape[0] {
		http.Error(w, "one input of 48 numbers a row", http.StatusBadRequest)
		return
	}
	wait := time.NewTimer(time.Duration(e.delay.Load()))
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-r.Context().Done():
		return
	}
	rows := asked.Inputs[0].Shape[0]
	var forecast []float32
	for row := range rows {
		for range 12 {
			forecast = append(forecast, asked.Inputs[0].Data[48*row+47])
		}
	}
	answer(w, map[string]any{
		"model_name": "forecaster", "model_version": "1",
		"outputs": []any{map[string]any{"name": "forecast", "datatype": "FP32", "shape": []int{rows, 12}, "data": forecast}},
	})
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the worker went away
}
