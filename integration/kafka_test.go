//go:build integration

package integration

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// What is fixed about every broker of these tests.
const (
	scramUser     = "millrace"
	scramPassword = "a password for tests"
	clusterID     = "bWlsbHJhY2UtdGVzdHMtMQ"
	partitions    = 12
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
	plain  string // address without encryption
	secure string // address with SCRAM over TLS
	ca     string // file of the authority that signed its certificate

	jars, conf string
	proc       *process
}

// newBroker formats the storage, starts the broker and waits for it.
func newBroker(t *testing.T) *broker {
	t.Helper()
	dir := t.TempDir()
	addrs := freeAddrs(t, 3)
	b := &broker{
		plain: addrs[0], secure: addrs[1],
		jars: fetched(t, "fetch-kafka.sh"), conf: filepath.Join(dir, "server.properties"),
	}
	var keystore string
	b.ca, keystore = writeCerts(t, dir)
	template, err := os.ReadFile("testdata/server.properties")
	require.NoError(t, err)
	conf := strings.NewReplacer(
		"{plain}", b.plain, "{secure}", b.secure, "{controller}", addrs[2],
		"{data}", filepath.Join(dir, "data"), "{keystore}", keystore,
	).Replace(string(template))
	require.NoError(t, os.WriteFile(b.conf, []byte(conf), 0o600))

	format := b.java(t, "kafka.tools.StorageTool", "format", "--cluster-id", clusterID, "--config", b.conf,
		"--add-scram", "SCRAM-SHA-512=[name="+scramUser+",password="+scramPassword+"]")
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

// secured are the options for the listener with SCRAM over TLS.
func (b *broker) secured(t *testing.T, password string) []kgo.Opt {
	t.Helper()
	pem, err := os.ReadFile(b.ca)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(pem))
	return []kgo.Opt{
		kgo.SeedBrokers(b.secure),
		kgo.DialTLSConfig(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}),
		kgo.SASL(scram.Auth{User: scramUser, Pass: password}.AsSha512Mechanism()),
	}
}

// topics makes the four of Millrace.
func (b *broker) topics(t *testing.T) {
	t.Helper()
	adm := kadm.NewClient(b.client(t))
	made, err := adm.CreateTopics(t.Context(), partitions, 1, nil, requests, results, replies, deadLetters)
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
