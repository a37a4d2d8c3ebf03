//go:build integration

package integration

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/integration/torture"
)

// cluster is a real Apache Kafka of three brokers, which workers reach through
// a proxy each.
type cluster struct {
	members []*member
	admin   *kadm.Client
}

// member is one broker. One goroutine at a time starts and ends it.
type member struct {
	id     int
	direct string // address without the proxy
	proxy  *torture.Proxy
	argv   []string
	dir    string // of its logs
	starts int
	proc   *process
}

// newCluster starts the brokers and waits until they are a cluster with the
// topics of Millrace.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	const size = 3
	dir := t.TempDir()
	template, err := os.ReadFile("testdata/cluster.properties")
	require.NoError(t, err)
	jars := fetched(t, "fetch-kafka.sh")
	addrs := freeAddrs(t, 3*size)
	var voters []string
	for i := range size {
		voters = append(voters, strconv.Itoa(i+1)+"@"+addrs[3*i+2])
	}
	c := new(cluster)
	var formats sync.WaitGroup
	failed := make(chan error, size)
	for i := range size {
		m := &member{id: i + 1, direct: addrs[3*i], dir: logDir(t), proxy: newProxy(t, addrs[3*i+1])}
		conf := filepath.Join(dir, fmt.Sprintf("broker-%d.properties", m.id))
		text := strings.NewReplacer(
			"{id}", strconv.Itoa(m.id), "{voters}", strings.Join(voters, ","), "{direct}", m.direct, "{proxied}", addrs[3*i+1],
			"{proxy}", m.proxy.Addr(), "{controller}", addrs[3*i+2], "{data}", filepath.Join(dir, fmt.Sprintf("broker-%d", m.id)),
		).Replace(string(template))
		require.NoError(t, os.WriteFile(conf, []byte(text), 0o600))
		b := &broker{jars: jars}
		m.argv = lean(b.java(t, "kafka.Kafka", conf))
		c.members = append(c.members, m)
		format := lean(b.java(t, "kafka.tools.StorageTool", "format", "--cluster-id", clusterID, "--config", conf))
		formats.Go(func() {
			out, err := exec.CommandContext(t.Context(), format[0], format[1:]...).CombinedOutput()
			if err != nil {
				failed <- fmt.Errorf("%w: %s", err, out)
			}
		})
	}
	formats.Wait()
	close(failed)
	require.NoError(t, <-failed)
	for _, m := range c.members {
		require.NoError(t, m.start(t.Context()))
		t.Cleanup(func() { m.proc.kill() })
	}
	c.admin = kadm.NewClient(c.client(t))
	c.admin.SetTimeoutMillis(5_000)
	c.wait(t, 2*time.Minute, func(ctx context.Context) error {
		made, err := c.admin.CreateTopics(ctx, partitions, size, nil, requests, results, replies, deadLetters)
		if err != nil {
			return err
		}
		return made.Error()
	})
	c.wait(t, time.Minute, c.inSync)
	return c
}

// lean is a Java command with a small heap.
func lean(argv []string) []string {
	for i, arg := range argv {
		if strings.HasPrefix(arg, "-Xmx") {
			argv[i] = "-Xmx320m"
		}
	}
	return argv
}

// newProxy runs a proxy until the test ends.
func newProxy(t *testing.T, target string) *torture.Proxy {
	t.Helper()
	p, err := torture.NewProxy(t.Context(), target)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return p
}

// wait asks until there is no error.
func (c *cluster) wait(t *testing.T, within time.Duration, ask func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	require.NoError(t, poll(ctx, ask))
}

// poll asks until there is no error, or until ctx ends, and returns the last
// one that is not of that end.
func poll(ctx context.Context, ask func(context.Context) error) (last error) {
	for {
		once, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := ask(once)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return cmp.Or(last, err)
		}
		last = err
		nap(ctx, 200*time.Millisecond)
	}
}

// nap returns early when ctx ends.
func nap(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// client returns one of the test's own, past the proxies.
func (c *cluster) client(t *testing.T, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	seeds := make([]string, len(c.members))
	for i, m := range c.members {
		seeds[i] = m.direct
	}
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(seeds...), kgo.MetadataMinAge(100 * time.Millisecond), kgo.DisableClientMetrics(), kgo.ProducerLinger(0),
		kgo.RequestTimeoutOverhead(5 * time.Second), kgo.DialTimeout(2 * time.Second),
		kgo.RetryBackoffFn(func(int) time.Duration { return 100 * time.Millisecond }),
	}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(cl.Close)
	return cl
}

// proxies are the addresses that workers get.
func (c *cluster) proxies() string {
	addrs := make([]string, len(c.members))
	for i, m := range c.members {
		addrs[i] = m.proxy.Addr()
	}
	return strings.Join(addrs, ",")
}

// inSync fails while a partition of any topic lacks a replica.
func (c *cluster) inSync(ctx context.Context) error {
	topics, err := c.admin.ListTopicsWithInternal(ctx)
	if err != nil {
		return err
	}
	if err := topics.Error(); err != nil {
		return err
	}
	behind := 0
	topics.EachPartition(func(d kadm.PartitionDetail) {
		if len(d.ISR) < len(c.members) || d.Leader < 0 {
			behind++
		}
	})
	if behind > 0 {
		return fmt.Errorf("%d partitions lack a replica", behind)
	}
	return nil
}

// start is also how a broker comes back after it was killed.
func (m *member) start(ctx context.Context) error {
	m.starts++
	name := fmt.Sprintf("broker-%d.%d", m.id, m.starts)
	proc, err := spawn(ctx, name, filepath.Join(m.dir, name+".log"), inherited(), m.argv...)
	if err == nil {
		m.proc = proc
	}
	return err
}

// kill takes the broker away, and its proxy with it: nothing answers there.
func (m *member) kill() {
	m.proc.kill()
	m.proxy.Down()
}

// back starts a killed broker and waits until it answers. Its port may have
// been taken for a moment by somebody's connection: it is tried again.
func (m *member) back(ctx context.Context) error {
	if err := m.start(ctx); err != nil {
		return err
	}
	return poll(ctx, func(ctx context.Context) error {
		if m.proc.ended() {
			return errors.Join(fmt.Errorf("%s has ended: %w", m.proc.name, m.proc.err), m.start(ctx))
		}
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", m.direct)
		if err != nil {
			return err
		}
		return errors.Join(conn.Close(), m.proxy.Up(ctx))
	})
}

func (m *member) stop() { m.proc.signal(syscall.SIGSTOP) }
func (m *member) cont() { m.proc.signal(syscall.SIGCONT) }
