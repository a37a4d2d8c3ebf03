package announce

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// The headers of a delivery, as mlflow/webhooks/constants.py has them.
const (
	deliveryID = "X-Mlflow-Delivery-Id"
	timestamp  = "X-Mlflow-Timestamp"
	signature  = "X-Mlflow-Signature"
)

// The bounds of a delivery: its body, and how far its time may be from now.
// Within that a delivery may be repeated, by anybody, which does no harm: all
// that comes of it is a look at the registry, at most one a second.
const (
	maxDelivery = 64 << 10
	maxOff      = 5 * time.Minute
)

// Webhook takes deliveries of MLflow's webhooks (3.3 and later; the signature is
// "v1," and the base64 of HMAC-SHA256 over "id.timestamp.body"). What a delivery
// says is not looked at: it has the registry asked.
//
// It answers 202 to a delivery that was taken, 401 to one that is not signed
// with the secret or not of this time, 413 to one that is too large, and 404
// when no secret is configured.
func (b *Board) Webhook() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secret, err := b.cfg.secret()
		if err != nil {
			b.Log.ErrorContext(r.Context(), "the webhook's secret cannot be read", "error", err)
			http.Error(w, http.StatusText(http.StatusServiceUnavailable), http.StatusServiceUnavailable)
			return
		}
		if secret == "" {
			http.NotFound(w, r)
			return
		}
		result, status := check(w, r, secret)
		b.Metrics.Webhooks.WithLabelValues(result).Inc()
		if status != http.StatusAccepted {
			b.Log.WarnContext(r.Context(), "a webhook's delivery is refused", "reason", result, "id", r.Header.Get(deliveryID), "from", r.RemoteAddr)
			http.Error(w, "refused: "+result, status)
			return
		}
		b.Nudge()
		w.WriteHeader(status)
	})
}

// The results of a delivery, which are a metric's label.
const (
	deliveryTaken    = "taken"
	deliverySize     = "size"
	deliveryTime     = "time"
	deliveryUnsigned = "signature"
)

func check(w http.ResponseWriter, r *http.Request, secret string) (result string, status int) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxDelivery))
	if err != nil {
		return deliverySize, http.StatusRequestEntityTooLarge
	}
	id, at := r.Header.Get(deliveryID), r.Header.Get(timestamp)
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = fmt.Fprintf(mac, "%s.%s.%s", id, at, body) // a hash never fails
	given, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(r.Header.Get(signature), "v1,"))
	if err != nil || !strings.HasPrefix(r.Header.Get(signature), "v1,") || !hmac.Equal(given, mac.Sum(nil)) {
		return deliveryUnsigned, http.StatusUnauthorized
	}
	seconds, err := strconv.ParseInt(at, 10, 64)
	if off := time.Since(time.Unix(seconds, 0)); err != nil || off.Abs() > maxOff {
		return deliveryTime, http.StatusUnauthorized
	}
	return deliveryTaken, http.StatusAccepted
}

var errNoSecret = errors.New("the file is empty")

// secret is that of the webhook, "" when there is none.
func (c *Config) secret() (string, error) {
	if c.SecretFile == "" {
		return c.Secret, nil
	}
	text, err := os.ReadFile(c.SecretFile)
	if err != nil {
		return "", fmt.Errorf("MILLRACE_WEBHOOK_SECRET_FILE: %w", err)
	}
	secret := strings.TrimSpace(string(text))
	if secret == "" {
		return "", fmt.Errorf("MILLRACE_WEBHOOK_SECRET_FILE: %w", errNoSecret)
	}
	return secret, nil
}
