package announce

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/metrics"
)

// sign is what MLflow's _generate_hmac_signature does.
func sign(secret, id, at, body string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(id + "." + at + "." + body))
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func TestWebhook(t *testing.T) {
	const body = `{"entity": "model_version_alias", "action": "created", "data": {"name": "fraud", "alias": "champion", "version": "2"}}`
	now := strconv.FormatInt(time.Now().Unix(), 10)
	old := strconv.FormatInt(time.Now().Add(-6*time.Minute).Unix(), 10)
	early := strconv.FormatInt(time.Now().Add(6*time.Minute).Unix(), 10)
	file := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(file, []byte("hush\n"), 0o600))
	empty := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	hush := Config{Secret: "hush"}
	for name, c := range map[string]struct {
		cfg       Config
		at        string
		signature string
		body      string
		want      int
		result    string
	}{
		"signed":               {hush, now, sign("hush", "id-1", now, body), body, http.StatusAccepted, "taken"},
		"secret of a file":     {Config{SecretFile: file}, now, sign("hush", "id-1", now, body), body, http.StatusAccepted, "taken"},
		"another secret":       {hush, now, sign("other", "id-1", now, body), body, http.StatusUnauthorized, "signature"},
		"another body":         {hush, now, sign("hush", "id-1", now, body), body + " ", http.StatusUnauthorized, "signature"},
		"another id":           {hush, now, sign("hush", "id-2", now, body), body, http.StatusUnauthorized, "signature"},
		"another time":         {hush, old, sign("hush", "id-1", now, body), body, http.StatusUnauthorized, "signature"},
		"no signature":         {hush, now, "", body, http.StatusUnauthorized, "signature"},
		"no version":           {hush, now, strings.TrimPrefix(sign("hush", "id-1", now, body), "v1,"), body, http.StatusUnauthorized, "signature"},
		"version of to-morrow": {hush, now, "v2" + strings.TrimPrefix(sign("hush", "id-1", now, body), "v1"), body, http.StatusUnauthorized, "signature"},
		"not base64":           {hush, now, "v1,???", body, http.StatusUnauthorized, "signature"},
		"old":                  {hush, old, sign("hush", "id-1", old, body), body, http.StatusUnauthorized, "time"},
		"early":                {hush, early, sign("hush", "id-1", early, body), body, http.StatusUnauthorized, "time"},
		"no time":              {hush, "", sign("hush", "id-1", "", body), body, http.StatusUnauthorized, "time"},
		"no number":            {hush, "now", sign("hush", "id-1", "now", body), body, http.StatusUnauthorized, "time"},
		"far from any time":    {hush, "9223372036854775807", sign("hush", "id-1", "9223372036854775807", body), body, http.StatusUnauthorized, "time"},
		"too large":            {hush, now, sign("hush", "id-1", now, strings.Repeat("x", 1<<17)), strings.Repeat("x", 1<<17), http.StatusRequestEntityTooLarge, "size"},
		"no secret":            {Config{}, now, sign("", "id-1", now, body), body, http.StatusNotFound, ""},
		"an empty file":        {Config{SecretFile: empty}, now, sign("", "id-1", now, body), body, http.StatusServiceUnavailable, ""},
		"no file":              {Config{SecretFile: file + "?"}, now, sign("", "id-1", now, body), body, http.StatusServiceUnavailable, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := metrics.NewAnnounce(prometheus.NewRegistry())
			c.cfg.Session = time.Second
			b, err := New(c.cfg, Deps{Log: slog.New(slog.DiscardHandler), Metrics: m})
			require.NoError(t, err)
			req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/webhooks/mlflow", strings.NewReader(c.body))
			req.Header.Set("X-MLflow-Delivery-Id", "id-1")
			req.Header.Set("X-MLflow-Timestamp", c.at)
			req.Header.Set("X-MLflow-Signature", c.signature)
			rec := httptest.NewRecorder()
			b.Webhook().ServeHTTP(rec, req)
			require.Equal(t, c.want, rec.Code)
			require.Equal(t, c.want == http.StatusAccepted, len(b.nudges) == 1, "it nudges")
			if c.result != "" {
				require.InDelta(t, 1, testutil.ToFloat64(m.Webhooks.WithLabelValues(c.result)), 0)
			}
		})
	}
}

func TestConfigNamesEachMistake(t *testing.T) {
	_, err := New(Config{Secret: "a", SecretFile: "b"}, Deps{})
	require.ErrorContains(t, err, "MILLRACE_MODEL_POLLER_SESSION")
	require.ErrorContains(t, err, "MILLRACE_WEBHOOK_SECRET_FILE exclude each other")
}
