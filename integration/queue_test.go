//go:build integration

package integration

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestQueue runs three workers as a share group over two partitions; one is
// killed in the middle, one is asked to end.
func TestQueue(t *testing.T) {
	const total = 40_000
	reg := sharedRegistry(t)
	name := reg.affineModel(t)
	b := newBroker(t)
	adm := kadm.NewClient(b.client(t))
	made, err := adm.CreateTopics(t.Context(), 2, 1, nil, requests, results, replies, deadLetters)
	require.NoError(t, err)
	require.NoError(t, made.Error())
	requireNoConsumerGroup(t, b)
	env := []string{"MLFLOW_TRACKING_URI=" + reg.url, "MILLRACE_MODEL=models:/" + name + "/1", "MILLRACE_DELIVERY=queue"}
	first := startWorker(t, "worker-1", b, env...)
	second := startWorker(t, "worker-2", b, env...)
	third := startWorker(t, "worker-3", b, env...)
	groups, err := adm.DescribeShareGroups(t.Context(), group)
	require.NoError(t, err)
	require.Len(t, groups[group].Members, 12, "lanes of three workers")

	requireSettings(t, b, map[string]string{
		"share.auto.offset.reset": "earliest", "share.isolation.level": "read_committed", "share.delivery.count.limit": "10",
		"share.record.lock.duration.ms": "15000", "share.session.timeout.ms": "45000",
	})

	f := startTraffic(t, b, total, 4_000, func(f *traffic) { f.over, f.disorder = 2, true })
	f.reach(t, total/4, time.Minute)
	first.kill()
	t.Log("worker-1 is killed")
	f.reach(t, total/2, time.Minute)
	begun := time.Now()
	go second.stop()
	require.Zero(t, second.exit(t, 20*time.Second), "exit code")
	t.Logf("worker-2 ended after %.2f s", time.Since(begun).Seconds())
	f.reach(t, total, time.Minute)

	require.Eventually(t, func() bool {
		described, err := adm.DescribeShareGroupOffsets(t.Context(), group)
		if err != nil || described.Error() != nil {
			return false
		}
		none := 0
		described[group].Offsets.Each(func(o kadm.ShareOffset) {
			if o.Err == nil && o.Lag == 0 {
				none++
			}
		})
		return none == 2
	}, time.Minute, 200*time.Millisecond, "the broker's count of the lag does not go to 0")
	got := f.check(t)
	t.Logf("%d answered twice", got.duplicates)
	require.NotContains(t, tail(third.log, 1000), "giving a request up")
}

// requireSettings reads what the first worker has set the group up with.
func requireSettings(t *testing.T, b *broker, want map[string]string) {
	t.Helper()
	req := kmsg.NewPtrDescribeConfigsRequest()
	res := kmsg.NewDescribeConfigsRequestResource()
	res.ResourceType, res.ResourceName = kmsg.ConfigResourceTypeGroupConfig, group
	req.Resources = append(req.Resources, res)
	resp, err := req.RequestWith(t.Context(), b.client(t))
	require.NoError(t, err)
	require.Len(t, resp.Resources, 1)
	for _, c := range resp.Resources[0].Configs {
		if value, ok := want[c.Name]; ok {
			require.NotNil(t, c.Value, c.Name)
			require.Equal(t, value, *c.Value, c.Name)
			delete(want, c.Name)
		}
	}
	require.Empty(t, want)
}

// requireNoConsumerGroup holds that a consumer group's name ends a worker, and
// that it says so.
func requireNoConsumerGroup(t *testing.T, b *broker) {
	t.Helper()
	var commit kadm.Offsets
	commit.AddOffset(requests, 0, 0, -1)
	_, err := kadm.NewClient(b.client(t)).CommitOffsets(t.Context(), "taken", commit)
	require.NoError(t, err)
	w := start(t, "worker-refused", environ(t, "MILLRACE_KAFKA_BROKERS="+b.plain, "MILLRACE_ADMIN_ADDR="+freeAddr(t),
		"MILLRACE_MODEL="+affine(t, 1), "MILLRACE_DELIVERY=queue", "MILLRACE_GROUP=taken"), binary(t), "worker")
	require.Equal(t, 1, w.exit(t, 30*time.Second))
	require.Contains(t, tail(w.log, 10), "taken is a consumer group; name another with MILLRACE_GROUP")
}
