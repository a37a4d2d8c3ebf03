package gateway_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	modelcard "github.com/millrace/millrace/card"
)

func TestThePoolAtAGlance(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		bad := false
		w.worker(func(r *kgo.Record) outcome {
			if bad {
				return outcome{"INVALID_INPUT", `{"error_code": "INVALID_INPUT", "message": "column a is missing"}`}
			}
			return echo(r)
		})
		client, err := kgo.NewClient(w.kafka()...)
		require.NoError(t, err)
		defer client.Close()
		text, err := json.Marshal(modelcard.Card{Name: "m", Version: "7", Flavor: "onnx", LoadedAt: time.Now(), Example: json.RawMessage(`{"inputs": [1]}`)})
		require.NoError(t, err)
		require.NoError(t, client.ProduceSync(t.Context(), &kgo.Record{Topic: cards, Key: []byte("m/7"), Value: text}).FirstErr())
		cfg := config()
		cfg.CardTopic = cards
		g := w.ready(cfg)
		for range 3 {
			require.Equal(t, http.StatusOK, g.post("{}", nil).status)
		}
		bad = true
		require.Equal(t, http.StatusBadRequest, g.post("{}", nil).status)
		require.Equal(t, http.StatusBadRequest, g.post("", nil).status)
		require.Equal(t, http.StatusBadRequest, g.do(t.Context(), http.MethodPost, "/v2/models/m/infer", strings.NewReader("{}"), map[string]string{"X-Request-Timeout": "x"}).status)
		w.member() // a group that never commits: all that was asked waits
		time.Sleep(2 * cfg.LagInterval)

		var pool struct {
			Ready      bool
			Errors     float64
			LagRecords int64   `json:"lag_records"`
			LagSeconds float64 `json:"lag_seconds"`
			Workers    int
			Breaker    string
			Models     []struct{ Name, Version string }
			Versions   []struct {
				Name, Version string
				Requests      int
			}
			Failures []struct {
				Status        int
				Code, Message string
			}
		}
		res := g.get("/pool.json")
		require.Equal(t, http.StatusOK, res.status)
		require.NoError(t, json.Unmarshal([]byte(res.body), &pool), res.body)
		require.True(t, pool.Ready)
		require.InDelta(t, 0.5, pool.Errors, 0.001)
		require.EqualValues(t, 4, pool.LagRecords)
		require.InDelta(t, 20, pool.LagSeconds, 11)
		require.InDelta(t, pool.LagSeconds, g.value("millrace_group_lag_seconds"), 0)
		require.Equal(t, 1, pool.Workers)
		require.Equal(t, "none", pool.Breaker)
		require.Equal(t, "m", pool.Models[0].Name)
		require.Equal(t, 4, pool.Versions[0].Requests)
		require.Len(t, pool.Failures, 3)
		require.Equal(t, "INVALID_INPUT", pool.Failures[0].Code)
		require.Equal(t, "column a is missing", pool.Failures[0].Message)
		require.Equal(t, "the body is empty", pool.Failures[1].Message)
		require.Equal(t, "INVALID_INPUT", pool.Failures[2].Code, "in V2's dialect too")

		require.Contains(t, g.get("/openapi.json").body, `"m.7"`)
		for _, path := range []string{"/", "/docs"} {
			require.Contains(t, g.get(path).header.Get("Content-Type"), "text/html")
		}
		require.NoError(t, g.stop())
		cfg.Pages = false
		g = w.ready(cfg)
		for _, path := range []string{"/", "/docs", "/pool.json", "/openapi.json", "/ui/pool.js"} {
			require.Equal(t, http.StatusNotFound, g.get(path).status, path)
		}
	}, requests, replies, kept, cards)
}

func TestStrangersSeeThePagesAndNothingOfThePool(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		cfg := config()
		cfg.Auth.TokensFile = filepath.Join(t.TempDir(), "tokens")
		require.NoError(t, os.WriteFile(cfg.Auth.TokensFile, []byte("alice alice-has-a-long-token\n"), 0o600))
		g := w.ready(cfg)
		require.Equal(t, http.StatusOK, g.get("/").status)
		for _, path := range []string{"/pool.json", "/openapi.json"} {
			require.Equal(t, http.StatusUnauthorized, g.get(path).status, path)
			res := g.do(t.Context(), http.MethodGet, path, nil, map[string]string{"Authorization": "Bearer alice-has-a-long-token"})
			require.Equal(t, http.StatusOK, res.status, path)
		}
	})
}
