package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// emptyPrometheus knows no series.
func emptyPrometheus(t *testing.T, value string) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data := `{}`
		if strings.HasSuffix(r.URL.Path, "/query") {
			data = `{"resultType": "vector", "result": [` + value + `]}`
		}
		if strings.HasSuffix(r.URL.Path, "/rules") {
			data = `{"groups": []}`
		}
		_, _ = fmt.Fprintf(w, `{"status": "success", "data": %s}`, data)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestReportWithoutDataIsNoGo(t *testing.T) {
	dir := t.TempDir()
	page, data := filepath.Join(dir, "r.md"), filepath.Join(dir, "r.json")
	got := tool(t.Context(), nil, "", "report", "--prometheus", emptyPrometheus(t, ""), "--json", data, "--markdown", page)
	require.Equal(t, 1, got.code, got.err)
	require.Empty(t, got.err)
	require.Contains(t, got.out, "no data: there are no such series in this time")
	require.Contains(t, got.out, "\nNO-GO\n")
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	require.Contains(t, string(text), "histogram_quantile")

	again := tool(t.Context(), nil, "", "report", "--prometheus", emptyPrometheus(t, `{"metric": {}, "value": [1, "1"]}`), "--compare", data,
		"--no-alerts", "--rate", "1", "--errors", "1", "--end", "2026-01-01T00:00:00Z", "--last", "1h")
	require.Equal(t, 1, again.code, "one histogram is missing: "+again.out)
	require.Contains(t, again.out, "2025-12-31 23:00:00 to 00:00:00 UTC")
	require.Contains(t, again.out, "NO-GO before, go now")
}

func TestReportFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, []byte("{}"), 0o600))
	for name, tt := range map[string]struct {
		args []string
		code int
		says string
	}{
		"end":        {[]string{"--end", "yesterday"}, 2, "--end"},
		"window":     {[]string{"--last", "1s"}, 2, "--last"},
		"load":       {[]string{"--load", file}, 1, "--load: not the JSON of a load test"},
		"no load":    {[]string{"--load", file + "x"}, 1, "no such file"},
		"compare":    {[]string{"--compare", file}, 1, "--compare: not a report"},
		"prometheus": {[]string{"--prometheus", "http://127.0.0.1:1"}, 1, "prometheus at http://127.0.0.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			got := tool(t.Context(), nil, "", append([]string{"report"}, tt.args...)...)
			require.Equal(t, tt.code, got.code)
			require.Contains(t, got.err, tt.says)
			require.Empty(t, got.out)
		})
	}
}
