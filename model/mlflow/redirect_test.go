package mlflow_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model/mlflow"
)

// redirecting answers the first request with a redirect, and notes what the
// next one bears.
type redirecting struct {
	to   string
	auth []string
}

func (r *redirecting) RoundTrip(req *http.Request) (*http.Response, error) {
	resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Request: req}
	if r.auth = append(r.auth, req.Header.Get("Authorization")); len(r.auth) == 1 {
		resp.StatusCode = http.StatusFound
		resp.Header.Set("Location", r.to)
	}
	resp.Body = io.NopCloser(strings.NewReader(`{"model_version":{"name":"m","version":"1"}}`))
	return resp, nil
}

// TestRedirects: credentials stay with the host, and within TLS.
func TestRedirects(t *testing.T) {
	for name, c := range map[string]struct {
		from, to string
		kept     bool
	}{
		"same":         {"https://mlflow", "https://mlflow/other", true},
		"into TLS":     {"http://mlflow", "https://mlflow/other", true},
		"out of TLS":   {"https://mlflow", "http://mlflow/other", false},
		"another host": {"https://mlflow", "https://elsewhere/other", false},
	} {
		t.Run(name, func(t *testing.T) {
			tr := &redirecting{to: c.to}
			client, err := mlflow.New(mlflow.Config{TrackingURI: c.from, Token: "secret", Transport: tr})
			require.NoError(t, err)
			_, err = client.ByVersion(t.Context(), "m", "1")
			require.NoError(t, err)
			require.Len(t, tr.auth, 2)
			require.Equal(t, "Bearer secret", tr.auth[0])
			require.Equal(t, c.kept, tr.auth[1] == "Bearer secret", tr.auth[1])
		})
	}
}
