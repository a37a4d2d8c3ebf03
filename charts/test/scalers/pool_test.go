package scalers

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// What the chart's triggers name by default.
const (
	requests   = "inference.requests"
	group      = "millrace"
	partitions = 12
)

// broker is an in-process Kafka with the pool's topics.
func broker(t *testing.T) (addr string, cl *kgo.Client) {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c.ListenAddrs()[0], client(t, c.ListenAddrs()[0])
}

// apache is the real one.
func apache(t *testing.T) (addr string, cl *kgo.Client) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "../../../scripts/fetch-kafka.sh").Output()
	require.NoError(t, err)
	jars, dir, controller := strings.TrimSpace(string(out)), t.TempDir(), freeAddr(t)
	addr = freeAddr(t)
	conf := filepath.Join(dir, "server.properties")
	require.NoError(t, os.WriteFile(conf, fmt.Appendf(nil, `process.roles=broker,controller
node.id=1
controller.quorum.voters=1@%s
listeners=PLAINTEXT://%s,CONTROLLER://%s
controller.listener.names=CONTROLLER
log.dirs=%s
offsets.topic.replication.factor=1
`, controller, addr, controller, filepath.Join(dir, "data")), 0o600))
	java := func(args ...string) []string {
		return append([]string{"java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", filepath.Join(jars, "*")}, args...)
	}
	format := java("kafka.tools.StorageTool", "format", "--cluster-id", "bWlsbHJhY2UtdGVzdHMtMQ", "--config", conf)
	said, err := exec.CommandContext(t.Context(), format[0], format[1:]...).CombinedOutput()
	require.NoError(t, err, "%s", said)
	start(t, nil, java("kafka.Kafka", conf)...)
	return addr, client(t, addr)
}

// client waits for the broker and makes the topics.
func client(t *testing.T, addr string) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()), kgo.MetadataMinAge(100*time.Millisecond))
	require.NoError(t, err)
	t.Cleanup(cl.Close)
	topics := []string{requests, "urgent", "inference.results", "inference.replies", "dlq.inference.requests"}
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		made, err := kadm.NewClient(cl).CreateTopics(ctx, partitions, 1, nil, topics...)
		return err == nil && made.Error() == nil
	}, time.Minute, time.Second)
	return cl
}

// ask puts n requests on the topic, as if they had been sent some time ago.
func ask(t *testing.T, cl *kgo.Client, n int, ago time.Duration) {
	t.Helper()
	body := `{"inputs": {"window": [[` + strings.TrimSuffix(strings.Repeat("70,", 48), ",") + `]]}}`
	records := make([]*kgo.Record, n)
	for i := range records {
		records[i] = &kgo.Record{Topic: requests, Value: []byte(body), Timestamp: time.Now().Add(-ago)}
	}
	require.NoError(t, cl.ProduceSync(t.Context(), records...).FirstErr())
}

// commit says for the group that up to each partition's offset all is answered.
func commit(t *testing.T, cl *kgo.Client, offset int64) {
	t.Helper()
	var offsets kadm.Offsets
	for p := range int32(partitions) {
		offsets.AddOffset(requests, p, offset, -1)
	}
	require.NoError(t, kadm.NewClient(cl).CommitAllOffsets(t.Context(), group, offsets))
}

// start runs a program until stop, or the end of the test. Without an environment it
// has this process's.
func start(t *testing.T, env []string, argv ...string) (stop func()) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), argv[0], argv[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, log, log
	require.NoError(t, cmd.Start())
	ended := false
	stop = func() {
		if ended {
			return
		}
		ended = true
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		_ = cmd.Wait()                          // by a signal
		_ = log.Close()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("%v:\n%s", argv, text)
		}
	}
	t.Cleanup(stop)
	return stop
}

// millrace starts a part of the pool, and waits until it is ready.
func millrace(t *testing.T, command, addr string, env ...string) (stop func()) {
	t.Helper()
	bin, err := filepath.Abs("../../../bin/millrace")
	require.NoError(t, err)
	require.FileExists(t, bin, "run `make build onnxruntime` first")
	stop = start(t, append(env, "HOME="+t.TempDir(), "MILLRACE_MODEL=bundled"), bin, command)
	awaitOK(t, "http://"+addr+"/readyz")
	return stop
}

// prometheus starts one that scrapes a worker and a gateway, labelled as the
// operator's monitors label them.
func prometheus(t *testing.T, worker, gateway string) (url string, stop func()) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "../../../scripts/fetch-prometheus.sh").Output()
	require.NoError(t, err)
	dir, addr := t.TempDir(), freeAddr(t)
	conf := []byte("global: {scrape_interval: 500ms}\nscrape_configs:\n")
	for job, target := range map[string]string{"worker": worker, "gateway": gateway} {
		conf = fmt.Appendf(conf, "- {job_name: millrace-%s, static_configs: [{targets: ['%s'], labels: {namespace: ml}}]}\n", job, target)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "prometheus.yml"), conf, 0o600))
	stop = start(t, nil, filepath.Join(strings.TrimSpace(string(out)), "prometheus"), "--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr)
	awaitOK(t, "http://"+addr+"/-/ready")
	return "http://" + addr, stop
}

func awaitOK(t *testing.T, url string) {
	t.Helper()
	require.Eventually(t, func() bool {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
		if err != nil {
			return false
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}, time.Minute, 100*time.Millisecond, url)
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
