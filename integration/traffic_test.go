//go:build integration

package integration

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
)

func runWith(cmd *exec.Cmd, stdin []byte) ([]byte, error) {
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(stdin), &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s%s", err, out, stderr.Bytes())
	}
	return out, err
}

// traffic sends requests and watches the results topic for their answers.
type traffic struct {
	total    int
	over     int    // partitions of the requests topic
	disorder bool   // answers of a partition may come in any order
	failing  string // a version that may answer MODEL_FAILED
	sent     atomic.Int64
	answered atomic.Int64 // distinct requests

	mu   sync.Mutex // guards what follows
	at   map[string]int
	seen []answer // in the order of their partition
}

type answer struct {
	id, correlation, status, version string
	value                            []byte
	partition                        int32 // of the results topic
	published                        time.Time
}

// send produces total requests of unique ids and contents to the partitions in
// turn, in small bursts at about rate a second, and returns when the broker has
// acknowledged all. Requests have no key, so that the answers of one partition
// come to one partition.
func (f *traffic) send(ctx context.Context, cl *kgo.Client, rate int) error {
	var wg sync.WaitGroup
	var failed error
	const burst = 20 * time.Millisecond
	tick := time.NewTicker(burst)
	defer tick.Stop()
	n := max(1, rate*int(burst/time.Millisecond)/1000)
	for i := range f.total {
		if i%n == 0 {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		r := &kgo.Record{
			Topic: requests, Partition: int32(i % f.over), Value: body(i),
			Headers: []kgo.RecordHeader{{Key: wire.CorrelationID, Value: []byte(strconv.Itoa(i))}},
		}
		wg.Add(1)
		cl.Produce(ctx, r, func(r *kgo.Record, err error) {
			defer wg.Done()
			f.mu.Lock()
			defer f.mu.Unlock()
			if err != nil {
				failed = err
				return
			}
			f.at[string(wire.AppendID(nil, r))] = i
			f.sent.Add(1)
		})
	}
	wg.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return failed
}

// watch reads the results until ctx ends.
func (f *traffic) watch(ctx context.Context, cl *kgo.Client) {
	known := make(map[string]bool, f.total)
	header := func(r *kgo.Record, key string) string {
		v, _ := wire.Header(r, key)
		return string(v)
	}
	for ctx.Err() == nil {
		cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			a := answer{
				id: header(r, wire.ID), correlation: header(r, wire.CorrelationID), status: header(r, wire.Status),
				version: header(r, wire.ModelVersion), value: r.Value, partition: r.Partition, published: r.Timestamp,
			}
			f.mu.Lock()
			f.seen = append(f.seen, a)
			f.mu.Unlock()
			if !known[a.id] {
				known[a.id] = true
				f.answered.Add(1)
			}
		})
	}
}

// startTraffic begins to send and to watch; both end with the test.
func startTraffic(t *testing.T, b *broker, total, rate int, change ...func(*traffic)) *traffic {
	t.Helper()
	f := &traffic{total: total, over: partitions, at: make(map[string]int, total)}
	for _, c := range change {
		c(f)
	}
	producer := b.client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	consumer := b.client(t, kgo.ConsumeTopics(results), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	failed := make(chan error, 1)
	wg.Go(func() { failed <- f.send(ctx, producer, rate) })
	wg.Go(func() { f.watch(ctx, consumer) })
	t.Cleanup(func() { // before the clients are closed
		cancel()
		wg.Wait()
		if err := <-failed; err != nil && !t.Failed() {
			t.Errorf("send: %v", err)
		}
	})
	return f
}

// reach waits until that many requests are answered.
func (f *traffic) reach(t *testing.T, n int, within time.Duration) {
	t.Helper()
	begun, said := time.Now(), time.Now()
	for f.answered.Load() < int64(n) {
		if time.Since(said) > 5*time.Second {
			said = time.Now()
			t.Logf("%d sent, %d answered", f.sent.Load(), f.answered.Load())
		}
		require.Less(t, time.Since(begun), within, "%d of %d answered, %d sent", f.answered.Load(), n, f.sent.Load())
		time.Sleep(10 * time.Millisecond) // real processes are polled
	}
}

// gap is the longest time without an answer in a partition, from a time on in
// which requests came all the while.
func (f *traffic) gap(from time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	var longest time.Duration
	last := make(map[int32]time.Time)
	for _, a := range f.seen {
		if before, ok := last[a.partition]; ok && a.published.After(from) {
			longest = max(longest, a.published.Sub(before))
		}
		last[a.partition] = a.published
	}
	return longest
}

// result is what a check found.
type result struct {
	versions   map[string]int // first answers by version
	duplicates int
	failed     int
}

// check holds what Millrace promises of the answers: one for every request, and
// each equal to what the version that it names answers; the first answers of a
// partition in the order of its requests; a repeated one under the same id.
func (f *traffic) check(t *testing.T) result {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	require.Len(t, f.at, f.total, "requests acknowledged by the broker")
	out := result{versions: make(map[string]int)}
	known := make(map[string]bool, f.total)
	last := make(map[int32]int64, partitions)
	for p := range int32(partitions) {
		last[p] = -1
	}
	for _, a := range f.seen {
		i, ok := f.at[a.id]
		require.True(t, ok, "an answer to no request: %s", a.id)
		require.Equal(t, strconv.Itoa(i), a.correlation, "the correlation id of %s", a.id)
		if f.failing != "" && f.failing == a.version && a.status == "MODEL_FAILED" {
			out.failed++
		} else {
			requireAnswer(t, i, a)
		}
		if known[a.id] {
			out.duplicates++
			continue
		}
		known[a.id] = true
		out.versions[a.version]++
		partition, offset := split(t, a.id)
		require.True(t, f.disorder || last[partition]+1 == offset, "%d is the next first answer of partition %d after %d", offset, partition, last[partition])
		last[partition] = offset
	}
	require.Len(t, known, f.total, "requests answered")
	return out
}

// requireAnswer holds that an answer is what the version that it names answers.
func requireAnswer(t *testing.T, i int, a answer) {
	t.Helper()
	require.Equal(t, "ok", a.status, "%s: %s", a.id, a.value)
	want, err := answerOf(i, a.version)
	require.NoError(t, err, a.id)
	got, err := parseAnswer(a.value)
	require.NoError(t, err, a.id)
	require.Equal(t, want, got, "request %d answered by version %s", i, a.version)
}

// split reads an answer's id, "topic/partition/offset".
func split(t *testing.T, id string) (partition int32, offset int64) {
	t.Helper()
	parts := strings.Split(id, "/")
	require.Len(t, parts, 3, id)
	require.Equal(t, requests, parts[0])
	p, err := strconv.ParseInt(parts[1], 10, 32)
	require.NoError(t, err)
	offset, err = strconv.ParseInt(parts[2], 10, 64)
	require.NoError(t, err)
	return int32(p), offset
}
