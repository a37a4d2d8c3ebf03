//go:build integration

package integration

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
)

// TestPool is the main test: two workers that follow an alias answer a hundred
// thousand requests while the alias moves, one of them is killed and another
// comes.
func TestPool(t *testing.T) {
	const total = 100_000
	reg := sharedRegistry(t)
	name := reg.affineModel(t)
	for version, folder := range map[string]string{"1": affine(t, 1), "2": affine(t, 2)} {
		requireRuntimeAgrees(t, folder, version, []int{0, 1, 2, 3, 4711, total - 2, total - 1})
	}
	b := newBroker(t)
	b.topics(t)
	env := []string{"MLFLOW_TRACKING_URI=" + reg.url, "MILLRACE_MODEL=models:/" + name + "@champion", "MILLRACE_SESSION_TIMEOUT=6s", "MILLRACE_HEARTBEAT_INTERVAL=1s"}
	first := startWorker(t, "worker-1", b, env...)
	startWorker(t, "worker-2", b, env...)

	f := startTraffic(t, b, total, 8_000)
	f.reach(t, total/4, time.Minute)
	reg.point(t, name, "champion", "2")
	f.reach(t, total/2, time.Minute)
	first.kill()
	t.Log("worker-1 is killed")
	startWorker(t, "worker-3", b, env...)
	f.reach(t, total, 2*time.Minute)

	b.requireNoLag(t, group)
	got := f.check(t)
	t.Logf("answers by version: %v; %d answered twice", got.versions, got.duplicates)
	require.Len(t, got.versions, 2)
	require.Positive(t, got.versions["1"])
	require.Positive(t, got.versions["2"])
}

// TestStopAtOnce holds that a worker asked to end hands its partitions over
// without a session's time-out, and that no request is answered twice for it.
func TestStopAtOnce(t *testing.T) {
	const total = 20_000
	b := newBroker(t)
	b.topics(t)
	env := []string{"MILLRACE_MODEL=" + affine(t, 1), "MILLRACE_SESSION_TIMEOUT=60s", "MILLRACE_HEARTBEAT_INTERVAL=500ms"}
	// Folders carry their content's hash for a version.
	reg := sharedRegistry(t)
	name := reg.affineModel(t)
	env = append(env, "MLFLOW_TRACKING_URI="+reg.url, "MILLRACE_MODEL=models:/"+name+"/1")
	first := startWorker(t, "worker-1", b, env...)
	startWorker(t, "worker-2", b, env...)

	f := startTraffic(t, b, total, 4_000)
	f.reach(t, total/2, time.Minute)
	begun := time.Now()
	go first.stop()
	require.Zero(t, first.exit(t, 20*time.Second), "exit code")
	t.Logf("worker-1 ended after %.2f s", time.Since(begun).Seconds())
	groups, err := kadm.NewClient(b.client(t)).DescribeGroups(t.Context(), group)
	require.NoError(t, err)
	require.Len(t, groups[group].Members, 1, "the group has been left")
	f.reach(t, total, 30*time.Second) // half of a session's time-out
	b.requireNoLag(t, group)
	require.Zero(t, f.check(t).duplicates)
}

// TestScaleDown measures the pause in the answers of the partitions that move
// when one of three workers is asked to end: the others hear of it by their next
// heartbeat.
func TestScaleDown(t *testing.T) {
	for _, mode := range []string{atLeastOnce, exactlyOnce} {
		for _, heartbeat := range []string{"3s", "500ms"} {
			t.Run(mode+" "+heartbeat, func(t *testing.T) {
				const total = 20_000
				reg := sharedRegistry(t)
				model := reg.affineModel(t)
				b := newBroker(t)
				b.topics(t)
				env := []string{
					"MLFLOW_TRACKING_URI=" + reg.url, "MILLRACE_MODEL=models:/" + model + "/1", "MILLRACE_DELIVERY=" + mode,
					"MILLRACE_SESSION_TIMEOUT=60s", "MILLRACE_HEARTBEAT_INTERVAL=" + heartbeat,
				}
				first := startWorker(t, "worker-1", b, env...)
				startWorker(t, "worker-2", b, env...)
				startWorker(t, "worker-3", b, env...)
				f := startTraffic(t, b, total, 2_000)
				f.reach(t, total/2, time.Minute)
				begun := time.Now()
				quiet := f.gap(begun.Add(-4 * time.Second))
				go first.stop()
				require.Zero(t, first.exit(t, 20*time.Second), "exit code")
				f.reach(t, total, 30*time.Second) // half of a session's time-out
				t.Logf("longest pause of a partition: %.2f s, and %.2f s in the 4 s before", f.gap(begun).Seconds(), quiet.Seconds())
				require.Less(t, f.gap(begun), 20*time.Second)
				require.Zero(t, f.check(t).duplicates)
			})
		}
	}
}

// TestConsumerProtocol runs the pool in a group of the broker's own assignor
// (KIP-848), with a worker that comes and one that is killed.
func TestConsumerProtocol(t *testing.T) {
	const total = 20_000
	reg := sharedRegistry(t)
	name := reg.affineModel(t)
	b := newBroker(t)
	b.topics(t)
	env := []string{"MLFLOW_TRACKING_URI=" + reg.url, "MILLRACE_MODEL=models:/" + name + "@champion", "MILLRACE_GROUP_PROTOCOL=consumer"}
	startWorker(t, "worker-1", b, env...)
	f := startTraffic(t, b, total, 4_000)
	f.reach(t, total/4, time.Minute)
	second := startWorker(t, "worker-2", b, env...)
	groups, err := kadm.NewClient(b.client(t)).DescribeConsumerGroups(t.Context(), group)
	require.NoError(t, err)
	require.Len(t, groups[group].Members, 2, "a group of the new protocol has both")
	f.reach(t, total/2, time.Minute)
	second.kill()
	f.reach(t, total, 90*time.Second) // the broker's session time-out is 45 s
	b.requireNoLag(t, group)
	f.check(t)
}

// TestExactlyOnce is TestPool in transactions: a reader of what is committed
// sees each answer once, whatever happens to the workers.
func TestExactlyOnce(t *testing.T) {
	for name, id := range map[string]string{"ids of their own": "", "ids that outlive a crash": "MILLRACE_TRANSACTIONAL_ID="} {
		t.Run(name, func(t *testing.T) {
			const total = 60_000
			reg := sharedRegistry(t)
			model := reg.affineModel(t)
			b := newBroker(t)
			b.topics(t)
			env := func(n string) []string {
				env := []string{
					"MLFLOW_TRACKING_URI=" + reg.url, "MILLRACE_MODEL=models:/" + model + "@champion", "MILLRACE_DELIVERY=exactly-once",
					"MILLRACE_SESSION_TIMEOUT=6s", "MILLRACE_HEARTBEAT_INTERVAL=1s",
				}
				if id != "" {
					env = append(env, id+n)
				}
				return env
			}
			first := startWorker(t, "worker-1", b, env("one")...)
			second := startWorker(t, "worker-2", b, env("two")...)
			f := startTraffic(t, b, total, 6_000)
			f.reach(t, total/4, time.Minute)
			reg.point(t, model, "champion", "2")
			f.reach(t, total/2, time.Minute)
			first.kill()
			t.Log("worker-1 is killed")
			startWorker(t, "worker-1-again", b, env("one")...)
			f.reach(t, 3*total/4, time.Minute)
			go second.stop()
			require.Zero(t, second.exit(t, 20*time.Second), "exit code")
			f.reach(t, total, 2*time.Minute)

			b.requireNoLag(t, group)
			got := f.check(t)
			t.Logf("answers by version: %v", got.versions)
			require.Zero(t, got.duplicates)
			require.Len(t, got.versions, 2)
		})
	}
}
