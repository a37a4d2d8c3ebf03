package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReady(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/away":
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(`{"status":"unavailable","reason":"no broker"}`))
		case "/stuck":
			<-r.Context().Done()
		case "/missing":
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	for name, tt := range map[string]struct {
		args []string
		code int
		says string
	}{
		"ready":       {[]string{server.URL + "/readyz"}, 0, ""},
		"not ready":   {[]string{server.URL + "/away"}, 1, "millrace: not ready: no broker\n"},
		"no answer":   {[]string{server.URL + "/stuck", "--timeout", "50ms"}, 1, "deadline exceeded"},
		"not a probe": {[]string{server.URL + "/missing"}, 1, "404 Not Found"},
		"nobody":      {[]string{"http://127.0.0.1:1/readyz"}, 1, "connection refused"},
		"not a URL":   {[]string{"readyz"}, 2, "takes one URL"},
		"two":         {[]string{server.URL, server.URL}, 2, "takes one URL"},
		"no time":     {[]string{server.URL, "--timeout", "0s"}, 2, "--timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			got := tool(t.Context(), nil, "", append([]string{"ready"}, tt.args...)...)
			require.Equal(t, tt.code, got.code, got.err)
			require.Contains(t, got.err, tt.says)
			require.Empty(t, got.out)
		})
	}
}
