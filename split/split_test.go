package split

import (
	"bytes"
	"fmt"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/model"
)

// shelf is a source of snapshots by name.
type shelf map[string]*model.Snapshot

func (s shelf) Acquire(name string) (*model.Snapshot, error) {
	if snap := s[name]; snap != nil && snap.Acquire() {
		return snap, nil
	}
	if name == "" {
		return nil, model.Errorf(model.Unavailable, "the model is not loaded yet")
	}
	return nil, model.Errorf(model.NotFound, "no model %q is served here", name)
}

type nothing struct{ model.Model }

func (nothing) Close() error { return nil }

func version(v string) *model.Snapshot {
	return model.Open(&model.Snapshot{Name: "forecaster", Version: v, Identity: "forecaster " + v, Model: nothing{}})
}

type rig struct {
	*Split
	main, canary, second shelf
	log                  bytes.Buffer
	m                    *metrics.Split
}

func newRig(t *testing.T, weights ...Weight) *rig {
	t.Helper()
	r := &rig{m: metrics.NewSplit(prometheus.NewRegistry())}
	r.main = shelf{"": version("1")}
	r.main["forecaster"] = r.main[""]
	r.canary = shelf{"": version("2"), "forecaster@challenger": nil}
	r.canary["forecaster@challenger"] = r.canary[""]
	r.second = shelf{"": version("3")}
	var arms []Arm
	for i, w := range weights {
		arms = append(arms, Arm{
			Reference: []string{challenger, "models:/forecaster@candidate"}[i], Weight: w, Names: []string{"", "forecaster"},
			Source: []Source{r.canary, r.second}[i],
		})
	}
	var err error
	r.Split, err = New(Config{MaxFailures: 10, MinRequests: 50, Window: time.Minute}, Deps{
		Log: slog.New(slog.NewTextHandler(&r.log, nil)), Metrics: r.m, Models: r.main, Arms: arms,
		Extra: []Source{shelf{"forecaster@shadow": version("9")}},
	})
	require.NoError(t, err)
	r.Refresh()
	return r
}

// version is the one that a request runs on.
func (r *rig) version(t *testing.T, rec *kgo.Record, requested string) string {
	t.Helper()
	s, err := r.Acquire(r.Route(rec, requested))
	require.NoError(t, err)
	defer release(s)
	return s.Version
}

func keyed(k []byte) *kgo.Record { return &kgo.Record{Topic: "t", Key: k} }

// shares counts the versions of many keys.
func (r *rig) shares(t *testing.T, n int) map[string]int {
	t.Helper()
	got := map[string]int{}
	for _, k := range keys("names", n) {
		got[r.version(t, keyed(k), "")]++
	}
	return got
}

func TestSharesAreAsConfigured(t *testing.T) {
	const n = 50_000
	for name, weights := range map[string][]Weight{
		"canary": {1000}, "a tenth of a percent": {10}, "half": {5000}, "three versions": {2000, 3000}, "no champion": {2500, 7500}, "none": {0, 0}, "all": {10_000},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, weights...)
			got, rest := r.shares(t, n), Weight(Buckets)
			for i, w := range weights {
				p := w.Ratio()
				require.InDelta(t, n*p, got[[]string{"2", "3"}[i]], 5*math.Sqrt(n*p*(1-p)), got)
				rest -= w
			}
			p := rest.Ratio()
			require.InDelta(t, n*p, got["1"], 5*math.Sqrt(n*p*(1-p)), got)
			require.InDelta(t, weights[0].Ratio(), testutil.ToFloat64(r.m.Share.WithLabelValues(challenger)), 0)
		})
	}
}

// A weight that is raised takes keys from the others, and gives none away.
func TestRaisingAWeightIsMonotonic(t *testing.T) {
	for _, c := range []struct{ low, high []Weight }{
		{[]Weight{100}, []Weight{101}},
		{[]Weight{500, 2000}, []Weight{1500, 2000}},
		{[]Weight{500, 2000}, []Weight{500, 2001}},
		{[]Weight{500, 2000}, []Weight{500, 9500}},
	} {
		low, high := newRig(t, c.low...), newRig(t, c.high...)
		for i := range c.low {
			raised := []string{"2", "3"}[i]
			if c.low[i] == c.high[i] {
				continue
			}
			for _, k := range keys("ids", 20_000) {
				was, is := low.version(t, keyed(k), ""), high.version(t, keyed(k), "")
				if was == raised {
					require.Equal(t, raised, is, "%s left version %s", k, raised)
				}
				if i == 1 && was == "2" {
					require.Equal(t, "2", is, "an arm before the one that was raised keeps its keys")
				}
			}
		}
	}
}

// What a request is assigned by is in the record: it does not matter which
// process looks, how often, or under which lease.
func TestTheSameRequestHasTheSameVersion(t *testing.T) {
	one, other := newRig(t, 3000), newRig(t, 3000)
	for o := range int64(2000) {
		first := one.version(t, &kgo.Record{Topic: "t", Partition: 3, Offset: o, LeaderEpoch: 1, Timestamp: time.Unix(1, 0)}, "")
		again := other.version(t, &kgo.Record{Topic: "t", Partition: 3, Offset: o, LeaderEpoch: 9}, "forecaster")
		require.Equal(t, first, again)
	}
}

func TestWhoAsksForAVersionGetsIt(t *testing.T) {
	r := newRig(t, 10_000)
	require.Equal(t, "2", r.version(t, keyed([]byte("k")), ""))
	require.Equal(t, "2", r.version(t, keyed([]byte("k")), "forecaster"), "the model's name is no version")
	require.Equal(t, "2", r.version(t, keyed([]byte("k")), "forecaster@challenger"))
	require.Equal(t, "9", r.version(t, keyed([]byte("k")), "forecaster@shadow"))
	r.main["forecaster/1"] = r.main[""]
	require.Equal(t, "1", r.version(t, keyed([]byte("k")), "forecaster/1"))
	_, err := r.Acquire(r.Route(keyed([]byte("k")), "other"))
	require.Equal(t, model.NotFound, model.AsError(err).Code)
	_, err = r.Acquire(r.Route(keyed([]byte("k")), mark+challenger))
	require.Equal(t, model.NotFound, model.AsError(err).Code, "the names of arms are not for requests")
}

// A version that is not there, or is the model's own, leaves its share to the
// model, and gets it back; nothing fails meanwhile.
func TestAnArmThatIsOffLeavesItsShare(t *testing.T) {
	r := newRig(t, 10_000)
	share := func() float64 { return testutil.ToFloat64(r.m.Share.WithLabelValues(challenger)) }
	rec, canary := keyed([]byte("k")), r.canary[""]
	assigned := r.Route(rec, "")

	delete(r.canary, "")
	s, err := r.Acquire(assigned)
	require.NoError(t, err, "a batch that was assigned before")
	require.Equal(t, "1", s.Version)
	release(s)
	r.Refresh()
	require.Empty(t, r.Route(rec, ""))
	require.Zero(t, share())
	require.Equal(t, "the model is not loaded yet", r.Status()[0].Off)

	r.canary[""] = canary
	r.Refresh()
	require.Equal(t, "2", r.version(t, rec, ""))
	require.InDelta(t, 1, share(), 0)
	require.Equal(t, Status{Reference: challenger, Weight: 100, Share: 100}, r.Status()[0])

	// Promotion: the model moves to the canary's version.
	r.main[""] = version("2")
	r.Refresh()
	require.Empty(t, r.Route(rec, ""))
	require.Equal(t, "it names the version that the model itself has", r.Status()[0].Off)
	require.Zero(t, share())
	require.Contains(t, r.log.String(), "a version takes its share of the requests")
	require.Contains(t, r.log.String(), "a version is switched off")
	require.Contains(t, r.log.String(), "a version is the model's own now")
}

// An arm that is off keeps its keys for itself: those of the others stay.
func TestAnArmThatIsOffMovesNoOthersKeys(t *testing.T) {
	r := newRig(t, 3000, 3000)
	was := map[string]string{}
	for _, k := range keys("names", 5000) {
		was[string(k)] = r.version(t, keyed(k), "")
	}
	delete(r.canary, "")
	r.Refresh()
	for k, before := range was {
		want := before
		if want == "2" {
			want = "1"
		}
		require.Equal(t, want, r.version(t, keyed([]byte(k)), ""))
	}
}

// What the model itself failed on is not run by it once more.
func TestNoSecondRunOnTheModelThatFailed(t *testing.T) {
	r := newRig(t, 10_000)
	name := r.Route(keyed([]byte("k")), "")
	_, ok := r.Instead(name, r.main[""])
	require.False(t, ok, "the arm went off between the assignment and the batch")
	_, ok = r.Instead("", r.main[""])
	require.False(t, ok)
	_, ok = r.Instead("forecaster@challenger", r.canary[""])
	require.False(t, ok, "who asks for a version gets its failure")
	delete(r.main, "")
	_, ok = r.Instead(name, r.canary[""])
	require.False(t, ok, "there is nothing else")
	require.Zero(t, testutil.ToFloat64(r.m.Failures.WithLabelValues(challenger)))
}

func TestCheck(t *testing.T) {
	arm := func(ref, of string, w Weight) Arm { return Arm{Reference: ref, Model: of, Weight: w} }
	require.NoError(t, Check([]Arm{arm("a", "", 5000), arm("b", "", 5000), arm("c", "other", 10_000)}))
	require.EqualError(t, Check([]Arm{arm("a", "", 5000), arm("b", "", 5001), arm("c", "", 1)}), "the shares of one model are more than 100 % together, with b at 50.01 %")
	require.EqualError(t, Check([]Arm{arm("a", "", 1), arm("a", "", 1)}), "a is given twice")
	_, err := New(Config{}, Deps{Arms: []Arm{arm("a", "", 1), arm("a", "", 1)}})
	require.Error(t, err)
}

func TestAssignAgreesWithRoute(t *testing.T) {
	r := newRig(t, 2000, 3000)
	for _, k := range keys("ids", 2000) {
		ref, bucket := Assign(r.deps.Arms, k)
		want := map[string]string{"": "1", challenger: "2", "models:/forecaster@candidate": "3"}[ref]
		require.Equal(t, want, r.version(t, keyed(k), ""))
		if ref == challenger {
			require.Less(t, bucket, 2000)
		}
	}
}

func TestValidate(t *testing.T) {
	good := Config{MaxFailures: 10, MinRequests: 50, Window: time.Minute}
	require.NoError(t, good.Validate())
	for _, bad := range []Config{{0, 50, time.Minute}, {101, 50, time.Minute}, {math.NaN(), 50, time.Minute}, {10, 0, time.Minute}, {10, 50, 0}} {
		require.Error(t, bad.Validate(), fmt.Sprint(bad))
	}
	off := guard{Config: Config{MaxFailures: 100, MinRequests: 1, Window: time.Minute}}
	off.ran(1)
	_, _, tripped := off.failed()
	require.False(t, tripped)
}
