package load_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/load"
)

func TestExpectations(t *testing.T) {
	r := &load.Report{Requests: 1000, Failures: 5, Rate: 99.5, P50: 10 * time.Millisecond, P95: 200 * time.Millisecond, P999: time.Second}
	for text, met := range map[string]bool{
		"p95<250ms": true, "p95<200ms": false, "p95<=200ms": true, "p999>999ms": true, "p50>=10ms": true, "p50>10ms": false,
		"failures<1%": true, "failures<=0.5%": true, "failures<0.5%": false, "failures<=5": true, "failures<5": false,
		"rate>=100": false, "rate>99": true, "requests>=1000": true, "max<1s": true, "mean<1ns": true,
	} {
		e, err := load.ParseExpectation(text)
		require.NoError(t, err, text)
		require.Equal(t, met, e.Of(r).Met, text)
		require.False(t, e.Of(&load.Report{}).Met, "absent data meets nothing: %s", text)
	}
	spaced, err := load.ParseExpectation(" p95 <  250ms ")
	require.NoError(t, err)
	require.Equal(t, "p95<250ms", spaced.Of(r).Expected)
	for _, text := range []string{"", "p95", "p95<", "p96<1s", "p95=1s", "p95<fast", "rate<1%", "failures<x", "failures<x%"} {
		_, err := load.ParseExpectation(text)
		require.ErrorContains(t, err, "--expect", text)
	}
}

func TestFailuresAreNotExpectedUnlessSaid(t *testing.T) {
	slow, err := load.ParseExpectation("p95<1s")
	require.NoError(t, err)
	some, err := load.ParseExpectation("failures<=1%")
	require.NoError(t, err)
	r := &load.Report{Requests: 1000, Failures: 5}
	require.False(t, r.Judge(nil))
	require.False(t, r.Judge([]load.Expectation{slow}))
	require.True(t, r.Judge([]load.Expectation{slow, some}))
	require.Len(t, r.Verdicts, 2)
}

// told answers with a model's headers and watches a lag.
func told(t *testing.T) *load.Report {
	t.Helper()
	cfg := config(nil)
	target, err := load.NewHTTP(load.HTTPConfig{URL: "http://service", Client: &http.Client{Transport: named{}}})
	require.NoError(t, err)
	cfg.Target, cfg.Users, cfg.Duration = target, 2, 3950*time.Millisecond
	lag := 0.0
	cfg.Watch = func(context.Context) (load.Sample, error) { lag++; return load.Sample{Lag: lag, Workers: 2}, nil }
	r, err := load.Run(t.Context(), cfg, io.Discard)
	require.NoError(t, err)
	return r
}

type named struct{}

func (named) RoundTrip(r *http.Request) (*http.Response, error) {
	time.Sleep(100 * time.Millisecond)
	text, _ := io.ReadAll(r.Body)
	h := http.Header{"X-Model-Name": {"m"}, "X-Model-Version": {"1"}, "X-Worker": {"a<b"}}
	if strings.HasSuffix(string(text), "7") {
		h = http.Header{"X-Model-Name": {"m"}, "X-Model-Version": {"2"}, "X-Worker": {"c"}}
	}
	status := http.StatusOK
	if strings.HasSuffix(string(text), "77") {
		status = http.StatusTooManyRequests
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader("{}")), Request: r}, nil
}

func TestSharesOfVersionsAndWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := told(t)
		require.EqualValues(t, 80, r.Requests)
		require.Equal(t, []load.Share{
			{Model: "m", Version: "1", Requests: 72, Share: 0.9}, {Model: "m", Version: "2", Requests: 8, Share: 0.1},
		}, r.Versions)
		require.Equal(t, "a<b", r.Replicas[0].Replica)
		require.Contains(t, r.String(), "answers by model version")
	})
}

func TestTheReportInItsForms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := told(t)
		e, err := load.ParseExpectation("p95<1s")
		require.NoError(t, err)
		r.Judge([]load.Expectation{e})

		text, err := json.Marshal(r)
		require.NoError(t, err)
		var back struct {
			Loop     string             `json:"loop"`
			Requests int                `json:"requests"`
			Latency  map[string]float64 `json:"latency_ms"`
			Verdicts []load.Verdict     `json:"verdicts"`
			Windows  []struct {
				Second  int      `json:"second"`
				P95     float64  `json:"p95_ms"`
				Lag     *float64 `json:"lag"`
				Workers *float64 `json:"workers"`
			} `json:"windows"`
		}
		require.NoError(t, json.Unmarshal(text, &back))
		require.Equal(t, "closed", back.Loop)
		require.Equal(t, 80, back.Requests)
		require.InDelta(t, 100, back.Latency["p95"], 1)
		require.Len(t, back.Windows, 4)
		require.InDelta(t, 100, back.Windows[1].P95, 2)
		require.InDelta(t, 2, *back.Windows[1].Workers, 0)
		require.Equal(t, []load.Verdict{{Expected: "failures<=0", Measured: "1"}, {Expected: "p95<1s", Measured: "100.00 ms", Met: true}}, back.Verdicts)

		page := new(strings.Builder)
		require.NoError(t, r.WriteHTML(page))
		for _, want := range []string{
			"<svg", "Throughput", "Latency", "Lag", "Workers", `stroke="#ff7f0e"`, "background: #1f77b4", "not met", "a&lt;b",
			"HTTP 429 Too Many Requests", "2 users",
		} {
			require.Contains(t, page.String(), want)
		}
		require.NotContains(t, page.String(), "ZgotmplZ", "the template refuses a value")
		require.NotContains(t, page.String(), "NaN")
		require.NotContains(t, page.String(), "http://", "it needs nothing else")

		for _, want := range []string{"| 80 | 1 (1.25 %)", "| `p95<1s` | 100.00 ms | met |", "| 72 | 90.0 % | m 1 |", "| 1 | HTTP 429"} {
			require.Contains(t, r.Markdown(), want)
		}
	})
}

func TestTheGatewaysSeriesAreWatched(t *testing.T) {
	text := "# HELP x y\nmillrace_group_lag_records{group=\"g 1\",topic=\"a\"} 3\nmillrace_group_lag_records{group=\"g 1\",topic=\"b\"} 4\nmillrace_gateway_workers 2\n"
	status := http.StatusOK
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}))
	defer srv.Close()
	client := srv.Client()
	s, err := load.WatchMetrics(client, srv.URL)(t.Context())
	require.NoError(t, err)
	require.Equal(t, load.Sample{Lag: 7, Workers: 2}, s)
	text = "other 1\n"
	_, err = load.WatchMetrics(client, srv.URL)(t.Context())
	require.ErrorContains(t, err, "millrace_group_lag_records")
	status = http.StatusNotFound
	_, err = load.WatchMetrics(client, srv.URL)(t.Context())
	require.ErrorContains(t, err, "404")
}
