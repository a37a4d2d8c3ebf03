package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/split"
)

func TestShares(t *testing.T) {
	var cfg workerConfig
	p := &program{env: map[string]string{
		"MILLRACE_MODEL": "models:/forecaster@champion, models:/other/3, ./folder, mine=models:/third@prod",
		"MILLRACE_SPLIT": "models:/forecaster@challenger=10, models:/third@next=2.5%", "MILLRACE_SHADOW": "models:/other@shadow",
	}}
	require.NoError(t, p.parse(&cfg))
	require.Equal(t, "models:/forecaster@challenger=10,models:/third@next=2.5", shownOf(t, &cfg, "MILLRACE_SPLIT"))
	require.Equal(t, "models:/other@shadow", shownOf(t, &cfg, "MILLRACE_SHADOW"))
	for i, want := range []struct {
		index int
		names []string
	}{{0, []string{"", "forecaster"}}, {3, []string{"mine", "third"}}} {
		index, names := cfg.Pool.own(cfg.Shares.Split[i])
		require.Equal(t, want.index, index)
		require.Equal(t, want.names, names)
	}
	index, names := cfg.Pool.own(cfg.Shares.Shadow)
	require.Equal(t, 1, index)
	require.Equal(t, []string{"other"}, names)
	index, _ = cfg.Pool.own(shareRef{modelRef: modelRef{text: "./elsewhere"}})
	require.Zero(t, index, "what has no registered name is the first's")
	require.Equal(t, []string{"", "folder"}, modelRef{text: "./folder"}.names(true))
	require.Equal(t, []string{""}, modelRef{text: bundledRef}.names(true))
	require.Equal(t, "inference.shadow", cfg.needed().Shadow)

	// A remote model's password is shown nowhere, and may hold the sign of a share.
	var far shareRef
	require.NoError(t, far.UnmarshalText([]byte("v2+http://me:a=secret@host:1/forecaster/2=7")))
	require.Equal(t, "v2+http://***@host:1/forecaster/2", arms([]shareRef{far})[0].Reference)
	require.Equal(t, split.Weight(700), far.weight)
	index, _ = cfg.Pool.own(far)
	require.Zero(t, index, "the first model has its name")
	require.NoError(t, far.UnmarshalText([]byte("v2+http://me:a=secret@host:1/forecaster")))
	require.False(t, far.given)
	require.NotContains(t, sharesConfig{Split: []shareRef{far}}.Validate().Error(), "secret")

	// With several models, a shadow looks at the answers of its own.
	w := &runningWorker{cfg: cfg}
	answers := w.answersFor(cfg.Shares.Shadow)
	require.True(t, answers(&model.Snapshot{Name: "other"}))
	require.False(t, answers(&model.Snapshot{Name: "forecaster"}))
	require.False(t, answers(&model.Snapshot{}))
}

func shownOf(t *testing.T, cfg any, name string) string {
	t.Helper()
	for _, f := range fields(cfg) {
		if f.name == name {
			return shown(f)
		}
	}
	require.FailNow(t, "no such variable", name)
	return ""
}

func TestSharesThatAreWrong(t *testing.T) {
	for env, want := range map[string]string{
		"MILLRACE_SPLIT=models:/m@b":                   "MILLRACE_SPLIT: models:/m@b has no share: write models:/m@b=10 for 10 percent",
		"MILLRACE_SPLIT=models:/m@b=101":               `MILLRACE_SPLIT: "101" is no share in percent, from 0 to 100 in steps of 0.01`,
		"MILLRACE_SPLIT=models:/m@b=60,models:/m@c=60": "the shares of one model are more than 100 % together, with models:/m@c at 60 %",
		"MILLRACE_SPLIT=models:/m@b=1,models:/m@b=2":   "models:/m@b is given twice",
		"MILLRACE_SPLIT=b=models:/m@b=1":               "a share has no name of its own",
		"MILLRACE_SHADOW=models://m":                   "MILLRACE_SHADOW: not a model reference",
		"MILLRACE_SPLIT=models:/m@b=1":                 "MLFLOW_TRACKING_URI: it is not set, and models:/m@b is in a registry",
		"MILLRACE_TOPIC_SHADOW=inference.results":      `MILLRACE_TOPIC_SHADOW: "inference.results" collides with MILLRACE_TOPIC_RESULTS`,
		"MILLRACE_SPLIT_MAX_FAILURES=0":                "MILLRACE_SPLIT_MAX_FAILURES: 0 is not above 0 and at most 100",
		"MILLRACE_SHADOW_MAX_QUEUED=0":                 "MILLRACE_SHADOW_MAX_QUEUED: 0 is not above 0",
	} {
		got := tool(t.Context(), home(t, env, "MILLRACE_KAFKA_BROKERS=127.0.0.1:1"), "", "worker", "--model", bundledRef)
		require.Equal(t, exitUsage, got.code, env)
		require.Contains(t, got.err, want)
	}
}
