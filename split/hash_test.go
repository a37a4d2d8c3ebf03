package split

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
)

const challenger = "models:/forecaster@challenger"

// The buckets are a promise to whoever computes them elsewhere: these were
// computed by Python's hashlib.
func TestBucketsStayWhereTheyAre(t *testing.T) {
	for _, c := range []struct {
		name, key string
		want      int
	}{
		{challenger, "user-1", 818},
		{challenger, "user-2", 3452},
		{"models:/forecaster@shadow", "user-1", 2403},
		{challenger, "", 5273},
		{"", "user-1", 5227},
		{challenger, "inference.requests/3/42", 3364},
		{"models:/prévision/4", "clé ☃", 9677},
		{challenger, strings.Repeat("x", 300), 2656},
	} {
		require.Equal(t, c.want, Bucket(c.name, []byte(c.key)), "%s %q", c.name, c.key)
	}
}

func TestKeyOfARequest(t *testing.T) {
	header := func(key, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: key, Value: []byte(value)} }
	correlation, original := header(wire.CorrelationID, "c-1"), header(wire.OriginalID, "t/0/7")
	for name, c := range map[string]struct {
		key     []byte
		headers []kgo.RecordHeader
		want    string
	}{
		"key":               {[]byte("user-1"), []kgo.RecordHeader{correlation, original}, "user-1"},
		"correlation id":    {nil, []kgo.RecordHeader{original, correlation}, "c-1"},
		"empty key":         {[]byte{}, []kgo.RecordHeader{correlation}, "c-1"},
		"empty correlation": {nil, []kgo.RecordHeader{header(wire.CorrelationID, "")}, "t/3/42"},
		"replay":            {nil, []kgo.RecordHeader{original}, "t/0/7"},
		"nothing":           {nil, nil, "t/3/42"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &kgo.Record{Topic: "t", Partition: 3, Offset: 42, Key: c.key, Headers: c.headers}
			require.Equal(t, c.want, string(Key(nil, r)))
		})
	}
}

func TestParseWeight(t *testing.T) {
	for text, want := range map[string]Weight{"10": 1000, "0": 0, "100": 10_000, "2.5": 250, "0.01%": 1, "33.33": 3333, "100%": 10_000, "7.": 700} {
		got, err := ParseWeight(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "%", "-1", "+1", "100.01", "101", "1e1", ".5", "0.001", "ten", "NaN", "99999999999"} {
		_, err := ParseWeight(text)
		require.Error(t, err, text)
	}
	for _, w := range []Weight{0, 1, 250, 3333, 10_000} {
		again, err := ParseWeight(w.String())
		require.NoError(t, err)
		require.Equal(t, w, again)
	}
}

// keys are of the kinds that people have: numbers in a row, names with a
// number, and ids without a pattern.
func keys(kind string, n int) [][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	list := make([][]byte, n)
	for i := range list {
		switch kind {
		case "numbers":
			list[i] = strconv.AppendInt(nil, int64(i), 10)
		case "names":
			list[i] = fmt.Appendf(nil, "sensor-%06d", i)
		default:
			list[i] = fmt.Appendf(nil, "%016x", r.Uint64())
		}
	}
	return list
}

// Each tenth of the buckets gets its share of the keys: the bound is five
// standard deviations, and the keys are the same in each run.
func TestBucketsAreEven(t *testing.T) {
	const n, parts = 100_000, 10
	for _, kind := range []string{"numbers", "names", "ids"} {
		var counts [parts]int
		for _, k := range keys(kind, n) {
			b := Bucket(challenger, k)
			require.GreaterOrEqual(t, b, 0)
			require.Less(t, b, Buckets)
			counts[b*parts/Buckets]++
		}
		for part, got := range counts {
			require.InDelta(t, n/parts, got, 475, "%s, part %d", kind, part)
		}
	}
}

// Two experiments take their shares independently of each other.
func TestExperimentsAreIndependent(t *testing.T) {
	const n = 100_000
	both := 0
	for _, k := range keys("names", n) {
		if Bucket(challenger, k) < 1000 && Bucket("models:/forecaster@shadow", k) < 1000 {
			both++
		}
	}
	require.InDelta(t, n/100, both, 160)
}

func FuzzRaisingAWeightOnlyAddsKeys(f *testing.F) {
	f.Add([]byte("user-1"), uint16(1000), uint16(2000))
	f.Fuzz(func(t *testing.T, key []byte, a, b uint16) {
		low, high := Weight(min(a, b)%(Buckets+1)), Weight(max(a, b)%(Buckets+1))
		if low > high {
			low, high = high, low
		}
		r := &kgo.Record{Topic: "t", Key: key}
		if low.In(challenger, r) {
			require.True(t, high.In(challenger, r))
		}
		require.False(t, Weight(0).In(challenger, r))
		require.True(t, Weight(Buckets).In(challenger, r))
	})
}

func BenchmarkRoute(b *testing.B) {
	r := &kgo.Record{Topic: "inference.requests", Partition: 3, Offset: 1 << 40}
	b.ReportAllocs()
	for b.Loop() {
		var room [64]byte
		_ = Bucket(challenger, Key(room[:0], r))
	}
}
