package lag

import (
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/metrics"
)

func TestRecords(t *testing.T) {
	for name, c := range map[string]struct{ watermark, from, start, end, want int64 }{
		"behind":                     {10, -1, 0, 25, 15},
		"level":                      {25, -1, 0, 25, 0},
		"not begun, from the start":  {-1, 5, 5, 25, 20},
		"nothing known":              {-1, -1, -1, -1, 0},
		"retention has passed it":    {10, -1, 20, 25, 5},
		"the end was heard too late": {30, -1, 0, 25, 0},
		"all deleted":                {10, -1, 25, 25, 0},
	} {
		require.Equal(t, c.want, Records(c.watermark, c.from, c.start, c.end), name)
	}
}

func TestExport(t *testing.T) {
	m := metrics.NewConsumer(prometheus.NewRegistry())
	old := time.Now().Add(-time.Hour)
	Export(m, slices.Values([]Partition{{"in", 0, 7, old}, {"in", 1, 3, time.Now().Add(time.Hour)}, {Topic: "in", ID: 2}}))
	require.InDelta(t, 10, testutil.ToFloat64(m.QueueLen), 0)
	require.InDelta(t, 3600, testutil.ToFloat64(m.OldestRecord), 10)
	require.InDelta(t, 0, testutil.ToFloat64(m.LagSeconds.WithLabelValues("in", "1")), 0, "clocks may differ")
	Forget(m, "in", 0)
	require.Equal(t, 2, testutil.CollectAndCount(m.LagRecords))
}
