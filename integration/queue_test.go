//go:build integration

package integration

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
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
	env := []string{"MLFLOW_TRACKING_URI=" + reg.url, "MILLRACE_MODEL=models:/" + name + "/1", "MILLRACE_DELIVERY=queue"}
	first := startWorker(t, "worker-1", b, env...)
	second := startWorker(t, "worker-2", b, env...)
	third := startWorker(t, "worker-3", b, env...)
	groups, err := adm.DescribeShareGroups(t.Context(), group)
	require.NoError(t, err)
	require.Len(t, groups[group].Members, 12, "lanes of three workers")

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
