//go:build integration

package integration

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// What is fixed about every broker of these tests.
const (
	saslUser     = "millrace"
	saslPassword = "a password for tests"
	clusterID    = "bWlsbHJhY2UtdGVzdHMtMQ"
	partitions   = 12
)

// The topics, by their default names.
const (
	requests    = "inference.requests"
	results     = "inference.results"
	replies     = "inference.replies"
	deadLetters = "dlq.inference.requests"
)

// broker is a real Apache Kafka.
type broker struct {
	plain     string // address without encryption
	secure    string // address with SASL over TLS
	encrypted string // address with TLS alone
	mutual    string // address with TLS that wants a client's certificate
	certs

	jars, conf string
	proc       *process
}

// newBroker formats the storage, starts the broker and waits for it.
func newBroker(t *testing.T) *broker {
	t.Helper()
	dir := t.TempDir()
	addrs := freeAddrs(t, 5)
	b := &broker{
		plain: addrs[0], secure: addrs[1], encrypted: addrs[2], mutual: addrs[3], certs: writeCerts(t, dir),
		jars: fetched(t, "fetch-kafka.sh"), conf: filepath.Join(dir, "server.properties"),
	}
	template, err := os.ReadFile("testdata/server.properties")
	require.NoError(t, err)
	conf := strings.NewReplacer(
		"{plain}", b.plain, "{secure}", b.secure, "{encrypted}", b.encrypted, "{mutual}", b.mutual, "{controller}", addrs[4],
		"{data}", filepath.Join(dir, "data"), "{keystore}", b.keystore, "{ca}", b.ca, "{user}", saslUser, "{password}", saslPassword,
	).Replace(string(template))
	require.NoError(t, os.WriteFile(b.conf, []byte(conf), 0o600))

	format := b.java(t, "kafka.tools.StorageTool", "format", "--cluster-id", clusterID, "--config", b.conf,
		"--add-scram", "SCRAM-SHA-256=[name="+saslUser+",password="+saslPassword+"]",
		"--add-scram", "SCRAM-SHA-512=[name="+saslUser+",password="+saslPassword+"]")
	out, err := exec.CommandContext(t.Context(), format[0], format[1:]...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	b.start(t)
	return b
}

func (b *broker) java(t *testing.T, args ...string) []string {
	t.Helper()
	log4j, err := filepath.Abs("testdata/log4j2.properties")
	require.NoError(t, err)
	return append([]string{
		"java", "-Xms128m", "-Xmx768m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Dlog4j2.configurationFile=" + log4j, "-cp", filepath.Join(b.jars, "*"),
	}, args...)
}

// start is also how a broker comes back after it was killed.
func (b *broker) start(t *testing.T) {
	t.Helper()
	name := "kafka"
	if b.proc != nil {
		name = "kafka-again"
	}
	b.proc = start(t, name, inherited(), b.java(t, "kafka.Kafka", b.conf)...)
	cl := b.client(t)
	b.proc.ready(t, 2*time.Minute, func(ctx context.Context) error {
		// The ping alone is answered before the broker takes requests.
		_, err := kadm.NewClient(cl).ListTopics(ctx)
		return err
	})
}

// client returns one of the test's own, on the plain listener.
func (b *broker) client(t *testing.T, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(b.plain), kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.DisableClientMetrics(), kgo.ProducerLinger(0),
		kgo.RetryBackoffFn(func(int) time.Duration { return 100 * time.Millisecond }),
	}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(cl.Close)
	return cl
}

// topics makes the four of Millrace.
func (b *broker) topics(t *testing.T) {
	t.Helper()
	adm := kadm.NewClient(b.client(t))
	made, err := adm.CreateTopics(t.Context(), partitions, 1, nil, requests, results, replies, deadLetters, "inference.cards", "inference.predictions")
	require.NoError(t, err)
	require.NoError(t, made.Error())
}

// requireNoLag waits until the group has committed all that there is, on every
// partition.
func (b *broker) requireNoLag(t *testing.T, group string) {
	t.Helper()
	adm := kadm.NewClient(b.client(t))
	require.Eventually(t, func() bool {
		ends, err := adm.ListEndOffsets(t.Context(), requests)
		if err != nil || ends.Error() != nil {
			return false
		}
		committed, err := adm.FetchOffsets(t.Context(), group)
		if err != nil {
			return false
		}
		level := true
		ends.Each(func(end kadm.ListedOffset) {
			at, ok := committed.Lookup(requests, end.Partition)
			level = level && (end.Offset == 0 || ok && at.At == end.Offset)
		})
		return level
	}, 20*time.Second, 100*time.Millisecond, "the committed lag of %s does not go to 0", group)
}
